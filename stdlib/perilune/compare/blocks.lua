-- Values of quantized blocks: GGUF's types, and the weights of published quantized layouts.
local pl = require "perilune"
local core = require "perilune.core"
local reference = require "perilune.compare.reference"

local compare_blocks = {}

-- How many of the numbers are not exactly the same; a NaN is one.
local function unequal(ours, theirs)
  if #ours ~= #theirs then return math.huge end
  local count = 0
  for i = 1, #theirs do
    local both_nan = ours[i] ~= ours[i] and theirs[i] ~= theirs[i]
    if ours[i] ~= theirs[i] and not both_nan then count = count + 1 end
  end
  return count
end

local function line(report, kind, name, ours, theirs)
  local count = unequal(ours, theirs)
  report.line(kind, name, count == 0 and "ok" or "OFF",
    count == 0 and ("%d values equal"):format(#theirs) or ("%s of %d values differ"):format(tostring(count), #theirs))
end

--- Whether a path is a file of GGUF blocks (TYPE.bytes u8[block, byte] with TYPE.values f32[block, value]).
---@param path string
---@return boolean
function compare_blocks.knows(path) return path:match "gguf%-blocks%.safetensors$" ~= nil end

--- Compares the values of every type in such a file.
---@param path string
---@param report table
function compare_blocks.compare(path, report)
  local file = pl.open(path)
  for _, name in ipairs(file.names) do
    local type = name:match "^(.*)%.bytes$"
    local ours = type and core.gguf_values(type, file.tensor(name))
    if type and not ours then
      report.line("blocks", type, "skip", "this type is not known here")
    elseif type then
      line(report, "blocks", type, reference.flatten(ours), reference.flatten(file.tensor(type .. ".values")))
    end
  end
end

--- Compares a loaded model's weights with the dequantized ones that expected.safetensors has (MODULE.dequantized).
---@param m Model
---@param stored table { names=, tensor= } as pl.open gives it
---@param report table
function compare_blocks.compare_weights(m, stored, report)
  for _, name in ipairs(stored.names) do
    local module = name:match "^(.*)%.dequantized$"
    if module then
      local ours, err = pl.try(m.weight, m, module)
      if ours then line(report, "weights", module, reference.flatten(ours), reference.flatten(stored.tensor(name)))
      else report.line("weights", module, "OFF", tostring(err)) end
    end
  end
end

return compare_blocks
