-- m:to: the same model on another device.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local pass_runner = require "perilune.loaded.pass_runner"
local place = require "perilune.loaded.place"
local quantized = require "perilune.loaded.quantized"
local ready = require "perilune.loaded.ready"

local moved = {}

-- What is a Model's own beside what its state says.
local kept = { "eager_", "quantization_plan" }

--- What m:to makes a Model of: its weights as they are stored now, packed for the device, and what the options that it was
--- loaded with come to there.
---@param m Model
---@param device string
---@return table|nil fields nil where all of the model is there already
function moved.fields(m, device)
  local s = pass_runner.open(m, "to")
  if type(device) ~= "string" then
    raise("argument", "to", "expected the name of a device, got " .. options.show(device),
      'for instance "cpu" or "cuda:0"; pl.devices() lists them')
  end
  local name = core.device(device)
  if #s.devices == 1 and s.devices[1] == name then return nil end
  local given, copy = {}, quantized.copy_state(s)
  for key, value in pairs(s.options) do given[key] = value end
  given.device, given.device_map = name, nil
  copy.options = given
  place.model(copy, given)
  local fields = ready.fields(copy, m.tokenizer, m.tokenizer_reason)
  for _, key in ipairs(kept) do fields[key] = rawget(m, key) end
  return fields
end

return moved
