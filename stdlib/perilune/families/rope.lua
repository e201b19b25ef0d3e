-- Rotary position options as published configs state them, old spellings and new.
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"

local rope = {}

-- What a type reads beside its name; true: required. Other keys are passed over, as the published
-- implementation does, with a warning.
local types = {
  default = {},
  linear = { factor = true },   -- 0: nothing is scaled
  dynamic = { factor = true, original_max_position_embeddings = false },
  llama3 = { factor = true, low_freq_factor = true, high_freq_factor = true, original_max_position_embeddings = false },
  yarn = { factor = false, original_max_position_embeddings = false, attention_factor = false, beta_fast = false,
    beta_slow = false, mscale = false, mscale_all_dim = false, truncate = false },
  longrope = { factor = false, original_max_position_embeddings = false, attention_factor = false, short_factor = true,
    long_factor = true },
}
local aliases = { su = "longrope" }
local common = { type = true, rope_type = true, rope_theta = true, partial_rotary_factor = true }

local function wrong(message, hint) return raise("format", "load", "config.json: " .. message, hint) end

local function positive(value, name)
  if value == nil then return nil end
  if type(value) ~= "number" or value ~= value or value <= 0 or value == math.huge then
    wrong(("rope: %s must be a number above 0, got %s"):format(name, options.show(value)))
  end
  return value
end

local function type_of(parameters)
  local name = parameters.rope_type or parameters.type or "default"
  name = aliases[name] or name
  if name == "proportional" then name = "linear" end   -- but for what turns: see proportional_factors
  if type(name) ~= "string" or not types[name] then
    raise("unsupported", "load", ("config.json: rope type %s is not known"):format(options.show(name)),
      "known types are default, linear, dynamic, llama3, yarn, longrope, proportional")
  end
  if name == "linear" and parameters.factor == 0 then name = "default" end
  return name
end

local function check_keys(parameters, name)
  for key in pairs(parameters) do
    if types[name][key] == nil and type(parameters[key]) == "table" and key:find "attention$" then
      raise("unsupported", "load", "config.json: rope parameters per kind of layer (" .. key .. ") are not supported yet")
    end
  end
  local missing = {}
  for key, required in pairs(types[name]) do
    if required and parameters[key] == nil then missing[#missing + 1] = key end
  end
  table.sort(missing)
  if #missing > 0 then wrong(("rope type %s needs %s"):format(name, table.concat(missing, ", "))) end
end

local function factor_list(list, name, dims)
  if list == nil then return nil end
  if type(list) ~= "table" or #list ~= dims / 2 then
    wrong(("rope: %s must list %d numbers, one for every pair of turned dimensions"):format(name, dims / 2))
  end
  for _, value in ipairs(list) do positive(value, name) end
  return list
end

local function scaling_of(name, parameters, json, dims)
  if name == "default" then return nil end
  local most = positive(json.max_position_embeddings, "max_position_embeddings")
  local original = positive(json.original_max_position_embeddings or parameters.original_max_position_embeddings,
    "original_max_position_embeddings")
  local factor = positive(parameters.factor, "factor")
  if name == "dynamic" then
    original = most or original
  elseif name ~= "linear" then
    original = original or most
    factor = factor or (original and most and most / original)
  end
  if name ~= "linear" and not original then wrong("rope type " .. name .. " needs max_position_embeddings") end
  local reads = types[name]
  local function own(key) return reads[key] ~= nil and positive(parameters[key], key) or nil end
  local function beta(key) return parameters[key] ~= 0 and own(key) or nil end   -- 0 is as good as none, as published
  if parameters.truncate ~= nil and type(parameters.truncate) ~= "boolean" then wrong "rope: truncate must be true or false" end
  return {
    type = name, factor = factor, original_max_position_embeddings = original,
    low_freq_factor = positive(parameters.low_freq_factor, "low_freq_factor"),
    high_freq_factor = positive(parameters.high_freq_factor, "high_freq_factor"),
    beta_fast = beta "beta_fast", beta_slow = beta "beta_slow", attention_factor = own "attention_factor",
    mscale = parameters.mscale, mscale_all_dim = parameters.mscale_all_dim, truncate = parameters.truncate,
    short_factor = factor_list(parameters.short_factor, "short_factor", dims),
    long_factor = factor_list(parameters.long_factor, "long_factor", dims),
  }
end

--- The rope's parameters as a config holds them, an empty table without any. The published
--- implementation lets the old spelling win where a file holds both.
---@param json table config.json
---@return table
function rope.parameters(json)
  local parameters = json.rope_scaling
  if parameters == nil or type(parameters) == "table" and next(parameters) == nil then parameters = json.rope_parameters end
  if parameters == nil then parameters = {} end
  if type(parameters) ~= "table" then wrong("rope_scaling must be an object, got " .. options.show(parameters)) end
  return parameters
end

--- Warnings for rope parameters that only other rope types read.
---@param json table config.json whose rope_options are known to be good
---@return string[]
function rope.rope_warnings(json)
  local parameters, list = rope.parameters(json), {}
  local name, said = type_of(parameters), parameters.rope_type or parameters.type
  if name == "default" and (said == "linear" or said == "proportional") then
    list[1] = ("config.json: rope type %s has the factor 0; nothing is scaled"):format(said)
  end
  for key in pairs(parameters) do
    if types[name][key] == nil and not common[key] then
      list[#list + 1] = ("config.json: rope type %s does not read %s; it is ignored"):format(name, options.show(key))
    end
  end
  table.sort(list)
  return list
end

-- A proportional rope (Gemma 4's) spreads its frequencies over the whole head; those beyond the share are 0.
local function proportional_factors(head_dim, share)
  local turning, factors = math.floor(head_dim * share / 2), {}
  for pair = 1, math.floor(head_dim / 2) do factors[pair] = pair <= turning and 1 or math.huge end
  return factors
end

-- An odd number of dimensions has the frequencies of just so many, and turns one more to make pairs.
local function odd_factors(theta, dims)
  local factors = {}
  for pair = 0, (dims - 1) / 2 do factors[pair + 1] = theta ^ (2 * pair / dims - 2 * pair / (dims + 1)) end
  return factors
end

--- Rotary options of a config, for `net:rope`: from rope_parameters, or rope_theta, rope_scaling,
--- rotary_pct, partial_rotary_factor, original_max_position_embeddings. An unknown type raises.
---
---     print(pl.rope_options({ rope_theta = 500000 }, 64).theta)             --> 500000
---@param json table config.json
---@param head_dim integer
---@param share number|nil the part of a head that turns where the file does not say; default 1
---@param odd boolean|nil an odd number of turned dimensions is rounded up, as GPT-NeoX's published code does
---@return table { theta=, dims=, style=, scaling=, factors= (each pair's frequency is divided by its own; nil: none) }
function rope.rope_options(json, head_dim, share, odd)
  if type(json) ~= "table" then raise("argument", "rope_options", "json: expected config.json as a table, got " .. options.show(json)) end
  if type(head_dim) ~= "number" then raise("argument", "rope_options", "head_dim: expected a number, got " .. options.show(head_dim)) end
  if share ~= nil and type(share) ~= "number" then raise("argument", "rope_options", "share: expected a number, got " .. options.show(share)) end
  local parameters = rope.parameters(json)
  local name = type_of(parameters)
  if parameters.factor == nil and (parameters.rope_type or parameters.type) == "proportional" then parameters.factor = 1 end
  check_keys(parameters, name)
  local theta = positive(parameters.rope_theta or json.rope_theta or json.rotary_emb_base or 10000, "rope_theta")
  share = positive(parameters.partial_rotary_factor or json.partial_rotary_factor or json.rotary_pct or share or 1,
    "partial_rotary_factor")
  local factors
  if share < 1 and (parameters.rope_type or parameters.type) == "proportional" then
    factors, share = proportional_factors(head_dim, share), 1
  end
  local dims = math.floor(head_dim * share)
  if odd and dims % 2 == 1 and (name == "default" or name == "linear") then
    factors, dims = odd_factors(theta, dims), dims + 1
  end
  if dims < 2 or dims > head_dim or dims % 2 ~= 0 then
    wrong(("rope turns %d of %d dimensions of a head (head_dim x %g); it needs an even number of them, at most all")
      :format(dims, head_dim, share))
  end
  return { theta = theta, dims = dims, style = "half", scaling = scaling_of(name, parameters, json, dims), factors = factors }
end

--- How many positions a config's rotary embedding is made for; nil without a limit.
---@param most integer max_position_embeddings
---@param given table what rope_options gave
---@return integer
function rope.rope_positions(most, given)
  local scaling = given.scaling
  if scaling and scaling.type == "dynamic" then return math.floor(most * scaling.factor) end
  if scaling and scaling.type == "yarn" and scaling.factor then
    return math.max(most, math.floor(scaling.original_max_position_embeddings * scaling.factor))
  end
  return most
end

return rope
