-- Where a function ends in a tail call. Such a function has no frame when what it called raises: LuaJIT knows nothing
-- of it any more, so that errors named the line that had called it.
local tail_calls = {}

local has_util, util = pcall(require, "jit.util")
local opcodes   -- of CALLT and CALLMT, as this LuaJIT numbers them

local function read_opcodes()
  opcodes = {}
  for _, text in ipairs { "local f = ... return f(1)", "local f = ... return f(f())" } do
    local chunk, last = loadstring(text), nil
    for pc = 1, 100 do
      local code = util.funcbc(chunk, pc)
      if not code then break end
      last = code % 256
    end
    opcodes[last] = true
  end
end

local places = setmetatable({}, { __mode = "k" })

--- "file:line" of the function's one tail call, the file as it was loaded; of several "file:first-last"; without one nil.
---@param f function a Lua function
---@return string|nil
function tail_calls.place(f)
  local known = places[f]
  if known ~= nil then return known or nil end
  local info = debug and debug.getinfo(f, "S")
  local file = info and info.source:match "^@(.+)$"
  local first, last
  if has_util and file and info.what == "Lua" then
    if not opcodes then read_opcodes() end
    for pc = 1, 1e6 do
      local code = util.funcbc(f, pc)
      if not code then break end
      if opcodes[code % 256] then
        local line = util.funcinfo(f, pc).currentline
        first, last = math.min(first or line, line), math.max(last or line, line)
      end
    end
  end
  local place = first and (first == last and ("%s:%d"):format(file, first) or ("%s:%d-%d"):format(file, first, last)) or false
  places[f] = place
  return place or nil
end

return tail_calls
