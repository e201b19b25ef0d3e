-- What inputs gave: `_` the last value, `_1`, `_2`, … those of inputs [1], [2], …; bounded by bytes.
local core = require "perilune.core"
local kind = require "perilune.base.kind"
local byte_count = require "perilune.base.byte_count"

local results = {}

--- Bytes of tensors and texts that results hold together; the oldest are dropped for a new one, and one that is larger is
--- not kept.
results.kept_bytes = 64 * 2 ^ 20

local most_looked_at = 100000  -- tables and values of one result

--- Bytes of the tensors and texts that are reached from a value. Models are their own owners' and count nothing.
---@param value any
---@return number
function results.held_bytes(value)
  local seen, sum, looked = {}, 0, 0
  local function look(one)
    looked = looked + 1
    local what = type(one)
    if what == "string" then
      sum = sum + #one
    elseif what == "userdata" and not seen[one] then
      seen[one] = true
      local fine, bytes = pcall(function() return core.type(one) == "Tensor" and one.bytes or 0 end)
      sum = sum + (fine and bytes or 0)
    elseif what == "table" and not seen[one] and looked < most_looked_at and kind.of(one) ~= "Model" then
      seen[one] = true
      for _, inner in next, one do look(inner) end
    end
  end
  look(value)
  return sum
end

local Results = {}
Results.__index = Results

--- An empty store.
---@return table
function results.new() return setmetatable({ list = {}, bytes = 0 }, Results) end

--- Keeps the value of an input under `_` and its number; says so when it is too large.
---@param number integer of the input
---@param value any
function Results:keep(number, value)
  if value == nil then
    rawset(_G, "_", nil)
    return
  end
  local bytes = results.held_bytes(value)
  if bytes > results.kept_bytes then
    print(("(%s: not kept in _; give it a name to keep it)"):format(byte_count.text(bytes)))
    rawset(_G, "_", nil)
    return
  end
  while #self.list > 0 and self.bytes + bytes > results.kept_bytes do
    local oldest = table.remove(self.list, 1)
    self.bytes = self.bytes - oldest.bytes
    rawset(_G, oldest.name, nil)
  end
  local name = "_" .. number
  self.list[#self.list + 1] = { name = name, bytes = bytes }
  self.bytes = self.bytes + bytes
  rawset(_G, name, value)
  rawset(_G, "_", value)
end

return results
