-- m:quantize: a model with the weights of another, stored in other types.
local pass_runner = require "perilune.loaded.pass_runner"
local options = require "perilune.base.options"
local place = require "perilune.loaded.place"
local quantize = require "perilune.loaded.quantize"
local ready = require "perilune.loaded.ready"
local ranks = require "perilune.loaded.ranks"

local quantized = {}

local spec = { compute = { "auto", "f32", "bf16", "int8" }, on_progress = "function" }

-- What is made when it is needed, and belongs to one model.
local own = { programs = true, plans = true, hooks = true, warnings = true, pool = true, placed = true, device_map = true }

--- A state of the same model with weights of its own.
---@param s table
---@return table
function quantized.copy_state(s)
  ranks.refuse(s, "load", "no model can be made of it")
  local copy = { programs = {}, plans = {}, hooks = {}, warnings = {} }
  for key, value in pairs(s) do
    if not own[key] then copy[key] = value end
  end
  for i, text in ipairs(s.warnings) do copy.warnings[i] = text end
  copy.checkpoint = s.checkpoint:copy_all()
  return copy
end

-- Fields of a model like `m` whose weights `change(s)` stored otherwise.
local function changed(m, o, change)
  local s = quantized.copy_state(pass_runner.open(m, "quantize"))
  change(s)
  local given = {}
  for key, value in pairs(s.options) do given[key] = value end
  given.compute, given.quantize = o.compute or given.compute, nil
  s.options = given
  place.model(s, given)
  return ready.fields(s, m.tokenizer, m.tokenizer_reason, o.on_progress)
end

--- What m:quantize makes a Model of.
---@param m Model
---@param recipe string|table
---@param opts table|nil
---@return table fields
function quantized.fields(m, recipe, opts)
  local o = options.check(opts, spec, "quantize")
  return changed(m, o, function(s) quantize.by_recipe(s, recipe, "quantize") end)
end

--- The same from assignments that somebody else made: of types by measure, of blocks by a better search.
---@param m Model
---@param assignments table[] as quantize.apply takes them
---@param recipe any what m.quantization and a saved folder say of it
---@param opts table|nil as m:quantize
---@return table fields
function quantized.assigned(m, assignments, recipe, opts)
  local o = options.check(opts, spec, "quantize")
  return changed(m, o, function(s)
    quantize.apply(s, assignments)
    s.recipe, s.converted = recipe, true
  end)
end

return quantized
