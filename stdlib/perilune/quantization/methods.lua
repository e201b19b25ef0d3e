-- m:quantize where more is asked than rounding: better roundings (gptq, awq), and types chosen for each layer (mixed).
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local byte_count = require "perilune.base.byte_count"
local progress = require "perilune.base.progress"
local place = require "perilune.loaded.place"
local pass_runner = require "perilune.loaded.pass_runner"
local quantize = require "perilune.loaded.quantize"
local quantized = require "perilune.loaded.quantized"
local weight_types = require "perilune.loaded.weight_types"
local sample = require "perilune.quantization.sample"
local finished = require "perilune.quantization.finished"
local search = require "perilune.quantization.search"
local mixed = require "perilune.quantization.mixed"

local methods = {}

-- What a recipe may say beside patterns and types.
local keys = { method = { "round", "gptq", "awq" }, calibration = "string|table", calibration_tokens = "positive", damping = "number",
  activation_order = "boolean", folder = "string", bytes = "number|string", kl = "number" }
local of_method = { round = {}, gptq = { "damping", "activation_order", "folder", "calibration", "calibration_tokens" },
  awq = { "folder", "calibration", "calibration_tokens" }, mixed = { "bytes", "kl", "calibration", "calibration_tokens" } }

local usual_tokens = { gptq = 2048, awq = 2048, mixed = 512 }
local usual_damping = 0.01

-- The keys of a recipe that are ours, and the recipe without them.
local function split(recipe)
  if recipe == "mixed" then recipe = { type = "mixed" } end
  if type(recipe) ~= "table" then return {}, recipe end
  local own, rest = {}, {}
  for key, value in pairs(recipe) do
    if keys[key] then own[key] = value else rest[key] = value end
  end
  options.check(own, keys, "quantize")
  return own, rest
end

local function method_of(own, rest)
  local name = own.method or "round"
  if type(rest) == "table" and rest.type == "mixed" then
    if name ~= "round" then raise("option", "quantize", "mixed chooses types, and rounds them plainly; method " .. name .. " is for types that are given") end
    name = "mixed"
    if (own.bytes == nil) == (own.kl == nil) then
      raise("option", "quantize", 'the type mixed needs a budget: bytes = (of all weights, such as "60M"), or kl = (nats a token)')
    end
  end
  local known = {}
  for _, key in ipairs(of_method[name]) do known[key] = true end
  for key in pairs(own) do
    if key ~= "method" and not known[key] then
      raise("option", "quantize", ("option quantize: %s means nothing to %s"):format(key, name == "mixed" and "mixed" or "method " .. name))
    end
  end
  return name
end

--- Whether a recipe asks for a search: pl.load then loads first and quantizes afterwards.
---@param recipe any
---@return boolean
function methods.asks(recipe)
  if recipe == "mixed" then return true end
  return type(recipe) == "table" and (recipe.type == "mixed" or recipe.method ~= nil and recipe.method ~= "round")
end

--- A recipe without what only searches read.
---@param recipe string|table
---@return string|table
function methods.plain(recipe)
  local own, rest = split(recipe)
  method_of(own, rest)
  return rest
end

--- A model of the same weights, computed in f32, for trying: changes of either do not reach the other.
---@param m Model
---@return Model
local function working(m)
  local s = quantized.copy_state(pass_runner.open(m, "quantize"))
  place.model(s, { compute = "f32", device = s.device })
  local copy = {}
  for key, value in pairs(m) do copy[key] = value end
  copy.state_, copy.compute, copy.cache_dtype = s, s.compute, s.cache_dtype
  return setmetatable(copy, getmetatable(m))
end

local function expect_causal(m, name)
  local head = rawget(m, "state_").head
  if head ~= "causal" then
    raise("unsupported", "quantize", ("%s is for models that continue texts; this one has head %s"):format(name, head), "take a type by itself")
  end
end

-- Everything that a search depends on.
local function key_of(m, name, assignments, rows, own)
  local words = { name, rawget(m, "state_").checkpoint:fingerprint(), finished.digest(rows), tostring(own.damping), tostring(own.activation_order) }
  for _, one in ipairs(assignments) do words[#words + 1] = one.path .. "=" .. one.storage end
  return table.concat(words, " ")
end

-- ---------------------------------------------------------------- mixed

-- The storages that a layer's rows fit, each once.
local function storages_for(inputs, whole_blocks)
  local list, known = {}, {}
  for _, choice in ipairs(mixed.candidates()) do
    local storage = weight_types.storage(choice.type, choice, inputs, whole_blocks)
    if storage and not known[storage] then list[#list + 1], known[storage] = { choice = choice, storage = storage }, true end
  end
  return list
end

local function mixed_assignments(m, own, rest, rows, tick, whole_blocks)
  local w = working(m)
  local s = rawget(w, "state_")
  local fixed, taken, notes = {}, {}, {}
  rest.type = nil
  if next(rest) ~= nil then
    fixed, notes = quantize.assign(s, quantize.read(rest, "quantize"), "quantize", whole_blocks)
    quantize.apply(s, fixed)
    for _, one in ipairs(fixed) do taken[one.path] = true end
  end
  local weights, others = {}, quantize.stored_bytes(s)
  for _, weight in ipairs(quantize.weights(s)) do
    if weight.layer and not taken[weight.path] then
      weights[#weights + 1] = { path = weight.path, storages = storages_for(weight.sizes[2], whole_blocks) }
      others = others - select(2, s.checkpoint:storage(weight.path))
    end
  end
  local budget = own.bytes and byte_count.read(own.bytes)
  if own.bytes and not budget then raise("option", "quantize", "option bytes: expected bytes, got " .. options.show(own.bytes), 'for instance "60M"') end
  if budget and budget < others then
    raise("option", "quantize", ("option bytes: what is no layer takes %s already"):format(byte_count.text(others)),
      "give more, or name those weights' types too")
  end
  local plan = mixed.plan(w, function() return working(w) end, weights, rows, { bytes = budget and budget - others, kl = own.kl }, tick)
  for _, one in ipairs(plan.layers) do fixed[#fixed + 1] = { path = one.path, storage = one.storage } end
  return fixed, notes, plan
end

-- ---------------------------------------------------------------- the call

local function search_assignments(m, name, own, rest, rows, tick, whole_blocks)
  local w = working(m)
  local assignments, notes = quantize.assign(rawget(w, "state_"), quantize.read(rest, "quantize"), "quantize", whole_blocks)
  local o = { damping = own.damping or usual_damping, activation_order = own.activation_order, folder = own.folder,
    copy = function() return working(m) end }
  o.key = own.folder and key_of(m, name, assignments, rows, own) or nil
  search[name](w, assignments, rows, o, tick)
  return assignments, notes
end

--- What a recipe comes to, for callers that store it themselves: assignments, notes, and what is to be written down of it.
---@param m Model also one whose weights are not packed
---@param recipe string|table
---@param on_progress fun(done: integer, total: integer)|nil
---@param whole_blocks boolean|nil rows may not end inside a block, as in GGUF files
---@return table[] assignments as quantize.apply takes them
---@return string[] notes
---@return table record
---@return table|nil plan of mixed
function methods.assignments(m, recipe, on_progress, whole_blocks)
  local own, rest = split(recipe)
  local name = method_of(own, rest)
  expect_causal(m, name)
  local rows, what = sample.rows(m, own.calibration, "quantize", own.calibration_tokens or usual_tokens[name])
  return progress.during(name, on_progress, function(tick)
    local record = { calibration = what }
    for key, value in pairs(recipe == "mixed" and {} or recipe) do if key ~= "calibration" and key ~= "folder" then record[key] = value end end
    if name ~= "mixed" then
      local assignments, notes = search_assignments(m, name, own, rest, rows, tick, whole_blocks)
      return assignments, notes, record
    end
    local assignments, notes, plan = mixed_assignments(m, own, rest, rows, tick, whole_blocks)
    record.layers = {}
    for _, one in ipairs(plan.layers) do record.layers[one.path] = one.storage:lower() end
    return assignments, notes, record, plan
  end)
end

--- What m:quantize makes a Model of.
---@param m Model
---@param recipe string|table
---@param opts table|nil
---@return table fields
function methods.fields(m, recipe, opts)
  local own, rest = split(recipe)
  if method_of(own, rest) == "round" then return quantized.fields(m, rest, opts) end
  local assignments, notes, record, plan = methods.assignments(m, recipe, opts and opts.on_progress)
  local fields = quantized.assigned(m, assignments, record, opts)
  for _, note in ipairs(notes) do core.warn(note, "quantize") end
  fields.quantization_plan = plan
  return fields
end

return methods
