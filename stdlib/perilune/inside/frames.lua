-- Lua functions of a pass that has stopped: where each is, and its locals by name, to read and to write.
local core = require "perilune.core"
local raise = require "perilune.base.raise"

local frames = {}

-- Levels below this function's caller, its own included.
local function depth()
  local n = 2
  while debug.getinfo(n, "f") do n = n + 1 end
  return n - 2
end

local function is_pass(info) return info.source:find("perilune/loaded/passes.lua", 1, true) ~= nil end

-- What stands between a family and the place that asks: the debugger itself, and built-in functions.
local function is_between(info) return info.what == "C" or info.source:find("perilune/inside/", 1, true) ~= nil
  or info.source:find("perilune/loaded/", 1, true) ~= nil end

--- The functions of the family that are running, the innermost first.
---@return table[] list of { name=, source=, line=, height= (its place on the stack, from below) }
function frames.capture()
  local list, whole, level = {}, depth(), 2
  while true do
    local info = debug.getinfo(level, "Snl")
    if not info or is_pass(info) then return list end
    if not is_between(info) then
      list[#list + 1] = { name = info.name or "the pass", source = info.source, short = info.short_src:match "[^/]+$" or info.short_src,
        line = info.currentline, first = info.linedefined, height = whole - level }
    end
    level = level + 1
  end
end

-- The level of a frame as the caller of this function counts it.
local function level_of(frame) return depth() - frame.height - 1 end

-- The number of the innermost local of that name at a level of the caller, or nil.
local function find_local(level, name)
  local found, i = nil, 1
  while true do
    local known = debug.getlocal(level + 1, i)
    if not known then return found end
    if known == name then found = i end
    i = i + 1
  end
end

--- A local's value.
---@param frame table
---@param name string
---@return boolean found
---@return any value
function frames.get(frame, name)
  local level = level_of(frame)
  local at = find_local(level, name)
  if not at then return false end
  local _, value = debug.getlocal(level, at)
  return true, value
end

--- Gives a local another value.
---@param frame table
---@param name string
---@param value any
---@return boolean found
function frames.set(frame, name, value)
  local level = level_of(frame)
  local at = find_local(level, name)
  if not at then return false end
  debug.setlocal(level, at, value)
  return true
end

--- Names of a frame's locals in the order of their lines, and what they hold.
---@param frame table
---@return table[] list of { name, value }
function frames.locals(frame)
  local level, list, place, i = level_of(frame), {}, {}, 1
  while true do
    local name, value = debug.getlocal(level, i)
    if not name then return list end
    if name:find "^[%a_]" and name ~= "_" then
      local at = place[name] or #list + 1
      list[at], place[name] = { name, value }, at
    end
    i = i + 1
  end
end

--- Source lines around the place of a frame.
---@param frame table
---@param around integer lines before and after
---@return string
function frames.source(frame, around)
  local path = frame.source:match "^@(.*)$"
  local fine, text = pcall(core.stdlib_source, path or "")
  if not fine then fine, text = pcall(core.read_file, path or "") end
  if not fine then raise("file", "debug", "the source of " .. frame.short .. " cannot be read") end
  local lines, number = {}, 0
  for line in (text .. "\n"):gmatch "([^\n]*)\n" do
    number = number + 1
    if math.abs(number - frame.line) <= around then
      lines[#lines + 1] = ("%s%4d  %s"):format(number == frame.line and ">" or " ", number, line)
    end
  end
  return table.concat(lines, "\n")
end

return frames
