-- Patterns of module paths. `*` stands for any characters of one component, a leading `*` for any depth
-- before it too; a component 0-15 stands for those numbers. A pattern names a module with all below it.
local path_pattern = {}

local function split(path)
  local list = {}
  for component in (path .. "."):gmatch "([^.]*)%." do list[#list + 1] = component end
  return list
end

-- function(component) → boolean
local function component_test(pattern)
  local first, last = pattern:match "^(%d+)%-(%d+)$"
  if first then
    first, last = tonumber(first), tonumber(last)
    return function(name)
      local number = name:match "^%d+$" and tonumber(name)
      return number and number >= first and number <= last or false
    end
  end
  local lua = "^" .. pattern:gsub("[%-%^%$%(%)%%%.%[%]%+%?]", "%%%0"):gsub("%*", ".*") .. "$"
  return function(name) return name:find(lua) ~= nil end
end

--- A test of paths.
---@param pattern string "layers.0-15", "decoder.layers.*", "*.mlp", "*"
---@return fun(path: string): boolean
function path_pattern.test(pattern)
  local tests = {}
  for i, component in ipairs(split(pattern)) do tests[i] = component_test(component) end
  local deep = pattern:sub(1, 1) == "*"
  return function(path)
    local names = split(path)
    for start = 1, deep and #names - #tests + 1 or 1 do
      local fits = #names - start + 1 >= #tests
      for i, test in ipairs(tests) do fits = fits and test(names[start + i - 1]) end
      if fits then return true end
    end
    return false
  end
end

--- A test of whole paths: a star stands for one component.
---@param pattern string "layers.*.mlp"
---@return fun(path: string): boolean
function path_pattern.exact(pattern)
  local lua = "^" .. pattern:gsub("[%-%^%$%(%)%%%.%[%]%+%?]", "%%%0"):gsub("%*", "[^.]+") .. "$"
  return function(path) return path:find(lua) ~= nil end
end

return path_pattern
