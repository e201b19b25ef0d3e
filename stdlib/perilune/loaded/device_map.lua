-- Which parts of a model run on which device: the options device, device_map and max_memory of pl.load,
-- turned into what plans take and into what m.device_map shows.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local byte_count = require "perilune.base.byte_count"
local path_pattern = require "perilune.base.path_pattern"

local device_map = {}

local function open_device(name, where)
  if type(name) ~= "string" then
    raise("option", "load", ("option %s: expected the name of a device, got %s"):format(where, options.show(name)))
  end
  return core.device(name)
end

-- Longest first; of equal length in the order of the alphabet.
local function read_patterns(map)
  local list = {}
  for pattern, name in pairs(map) do
    if type(pattern) ~= "string" or pattern == "" then
      raise("option", "load", "option device_map: expected patterns of module paths as keys, got " .. options.show(pattern),
        'for instance { ["layers.0-15"] = "cuda:0", ["*"] = "cpu" }')
    end
    list[#list + 1] = { text = pattern, fits = path_pattern.test(pattern),
      device = open_device(name, ('device_map["%s"]'):format(pattern)) }
  end
  if not list[1] then raise("option", "load", "option device_map: the table is empty", 'give patterns, or "auto"') end
  table.sort(list, function(a, b)
    if #a.text ~= #b.text then return #a.text > #b.text end
    return a.text < b.text
  end)
  return list
end

local function first_of(patterns, ...)
  for _, pattern in ipairs(patterns) do
    for i = 1, select("#", ...) do
      if pattern.fits((select(i, ...))) then
        pattern.used = true
        return pattern
      end
    end
  end
end

local function expect_used(patterns, parts)
  for _, pattern in ipairs(patterns) do
    if not pattern.used then
      local paths = {}
      for _, list in pairs(parts) do
        for _, part in ipairs(list) do paths[#paths + 1] = part.path end
      end
      table.sort(paths)
      local near = core.nearest(pattern.text, paths)
      raise("option", "load", ('option device_map: no module fits "%s", or longer patterns have all of them'):format(pattern.text),
        near and ('did you mean "' .. near .. '"?') or ("parts are " .. table.concat(paths, ", ")))
    end
  end
end

local function is_below(module, part) return module == part or module:sub(1, #part + 1) == part .. "." end

-- Places one part: `place(path, pattern)` for it and for modules of it that go elsewhere. Whether patterns
-- name all of it.
local function place_part(patterns, part, place)
  local own, whole = first_of(patterns, part.path), true
  if own then place(part.path, own, true) end
  for _, module in ipairs(part.modules) do
    local below = is_below(module, part.path)
    local pattern = below and first_of(patterns, module) or not below and first_of(patterns, part.path, module) or nil
    if pattern and module ~= part.path and not (below and pattern == own) then place(module, pattern, pattern ~= own) end
    whole = whole and pattern ~= nil
  end
  return own ~= nil or whole
end

--- Modules as the patterns of a table place them.
---@param map table<string, string>
---@param parts table<string, table[]> of every entry, as plan:parts() gives them
---@param standard fun(): string where what no pattern names goes
---@return table<string, table> placed list of { path, device } of every entry, for plans
---@return table<string, table> chosen path → { device=, why= }
---@return string standard the device of what no entry of `placed` names
function device_map.by_table(map, parts, standard)
  local patterns, placed, chosen, left = read_patterns(map), {}, {}, {}
  for entry, list in pairs(parts) do
    placed[entry] = {}
    for _, part in ipairs(list) do
      local whole = place_part(patterns, part, function(path, pattern, shown)
        table.insert(placed[entry], { path, pattern.device })
        if shown then chosen[path] = { device = pattern.device, why = ('device_map["%s"]'):format(pattern.text) } end
      end)
      if not whole then left[#left + 1] = part.path end
    end
  end
  expect_used(patterns, parts)
  local rest = left[1] and standard() or patterns[#patterns].device
  for _, path in ipairs(left) do chosen[path] = { device = rest, why = "no pattern names it" } end
  return placed, chosen, rest
end

--- The same where the device of every part is known.
---@param parts table<string, table[]>
---@param chosen table<string, table> path of a part → { device=, why= }
---@return table<string, table> placed
function device_map.by_part(parts, chosen)
  local placed = {}
  for entry, list in pairs(parts) do
    placed[entry] = {}
    for _, part in ipairs(list) do
      local device = chosen[part.path].device
      table.insert(placed[entry], { part.path, device })
      for _, module in ipairs(part.modules) do
        if not is_below(module, part.path) then table.insert(placed[entry], { module, device }) end
      end
    end
  end
  return placed
end

local Shown = {}

function Shown.__tostring(map)
  local about, lines = getmetatable(map).about, {}
  for i, row in ipairs(about) do
    lines[i] = ("%-28s %-10s %10s weights, %10s a token   %s"):format(row.path, row.device, byte_count.text(row.weights),
      byte_count.text(row.cache), row.why)
  end
  return table.concat(lines, "\n")
end

--- What m.device_map shows: { path → device }; printed, also what each takes there and why.
---@param rows table[] in the order they are computed: { path=, device=, weights=, cache=, why= }
---@return table
function device_map.shown(rows)
  local map = {}
  for _, row in ipairs(rows) do map[row.path] = row.device end
  return setmetatable(map, { about = rows, __tostring = Shown.__tostring })
end

return device_map
