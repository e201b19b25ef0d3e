-- Rotary positions as GGUF metadata states them and llama.cpp applies them.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"

local gguf_rope = {}

--- The keys that are read here, below the architecture's name.
gguf_rope.keys = { ["rope.freq_base"] = true, ["rope.dimension_count"] = true, ["rope.scale_linear"] = true,
  ["rope.scaling.type"] = true, ["rope.scaling.factor"] = true, ["rope.scaling.original_context_length"] = true,
  ["rope.scaling.attn_factor"] = true, ["rope.scaling.finetuned"] = true, ["rope.scaling.yarn_log_multiplier"] = true,
  ["rope.scaling.yarn_ext_factor"] = true, ["rope.scaling.yarn_attn_factor"] = true, ["rope.scaling.yarn_beta_fast"] = true,
  ["rope.scaling.yarn_beta_slow"] = true }

local known_types = { none = true, linear = true, yarn = true, longrope = true }

local function wrong(path, key, value, expected)
  return raise("format", "load", ("%s: %s is %s, expected %s"):format(path, key, options.show(value), expected))
end

-- Reads numbers below "<architecture>.rope.", nil where there is none.
local function reader(path, architecture, values)
  return function(key)
    local name = architecture .. ".rope." .. key
    local value = values[name]
    if value ~= nil and (type(value) ~= "number" or value ~= value or math.abs(value) == math.huge) then
      wrong(path, name, value, "a number")
    end
    return value
  end
end

-- One factor for every pair, each times `factor`.
local function factors(head, name, factor)
  local file = core.open_tensors(head.files[name])
  local list = file:tensor(name):to "f32":tolist()
  file:close()
  for i, value in ipairs(list) do list[i] = value * factor end
  return list
end

local function magnitude(factor, multiplier)
  return factor <= 1 and 1 or 0.1 * multiplier * math.log(factor) + 1
end

-- What cosines and sines are multiplied by. llama.cpp takes the factor of the yarn keys only where it does
-- not extrapolate: else it is made from the scaling factor.
local function attention_factor(number, factor, extrapolation, architecture, warnings)
  local own, multiplier = number "scaling.yarn_attn_factor", number "scaling.yarn_log_multiplier"
  local scale = own or 1
  if extrapolation ~= 0 then
    scale = magnitude(factor, 1) / (multiplier and multiplier ~= 0 and magnitude(factor, multiplier) or 1)
    if own and math.abs(own - scale) > 1e-6 then
      warnings[#warnings + 1] = ("%s.rope.scaling.yarn_attn_factor %g is not read where yarn extrapolates; %g follows from the factor")
        :format(architecture, own, scale)
    end
  end
  return scale * (number "scaling.attn_factor" or 1)
end

-- Scaling as config.json would state it, from the numbers that llama.cpp goes by.
local function scaling_of(head, number, kind, factor, extrapolation)
  local original = number "scaling.original_context_length"
  if head.sizes["rope_factors_long.weight"] and head.sizes["rope_factors_short.weight"] then
    return { rope_type = "longrope", short_factor = factors(head, "rope_factors_short.weight", factor),
      long_factor = factors(head, "rope_factors_long.weight", factor), original_max_position_embeddings = original }
  end
  if kind ~= "none" and extrapolation ~= 0 then
    return { rope_type = "yarn", factor = factor, original_max_position_embeddings = original,
      beta_fast = number "scaling.yarn_beta_fast", beta_slow = number "scaling.yarn_beta_slow" }
  end
  return factor ~= 1 and { rope_type = "linear", factor = factor } or nil
end

--- Adds to `json` what config.json would say of rotary positions.
---@param path string
---@param architecture string
---@param head table as core.gguf_head gives it
---@param json table changed
---@param warnings string[] added to
---@return table extra what no config.json says: attention_factor, extrapolation_factor
function gguf_rope.read(path, architecture, head, json, warnings)
  local number = reader(path, architecture, head.values)
  local kind = head.values[architecture .. ".rope.scaling.type"] or "linear"
  if not known_types[kind] then
    raise("unsupported", "load", ("%s: %s.rope.scaling.type %s is not known"):format(path, architecture, options.show(kind)),
      "known types are none, linear, yarn, longrope")
  end
  local factor = number "scaling.factor" or number "scale_linear" or 1
  if factor == 0 or kind == "none" then factor = 1 end   -- llama.cpp's word for none
  if factor < 0 then wrong(path, architecture .. ".rope.scaling.factor", factor, "a number above 0") end
  local extrapolation = number "scaling.yarn_ext_factor"
  if not extrapolation or extrapolation < 0 then extrapolation = kind == "yarn" and 1 or 0 end
  json.rope_theta = number "freq_base"
  json.rope_scaling = scaling_of(head, number, kind, factor, extrapolation)
  local turned, heads, hidden = number "dimension_count", json.num_attention_heads, json.hidden_size
  local head_dim = json.head_dim or (heads and hidden and hidden / heads)
  if turned and type(head_dim) == "number" and turned ~= head_dim then json.partial_rotary_factor = turned / head_dim end
  return { attention_factor = attention_factor(number, factor, extrapolation, architecture, warnings),
    extrapolation_factor = extrapolation }
end

--- Adds to the family's config what only GGUF says: factors that tensors hold, and those of `read`.
---@param record table what gguf_folder.read gave
---@param c table the family's config; changed
---@param unused string[] patterns of tensors that nobody needs to read; added to
function gguf_rope.apply(record, c, unused)
  local sizes = record.head.sizes
  local applied = c.rope and c.rope.scaling and c.rope.scaling.type == "longrope"
  for _, name in ipairs { "rope_factors_long.weight", "rope_factors_short.weight" } do
    if sizes[name] and (applied or not c.rope) then unused[#unused + 1] = name end   -- read already, or of no use
  end
  if sizes["rope_freqs.weight"] then
    if c.rope then c.rope.factors = "rope_freqs.weight" else unused[#unused + 1] = "rope_freqs.weight" end
  end
  if not c.rope or not record.rope then return end
  local scaling, extra = c.rope.scaling, record.rope
  if not scaling and extra.attention_factor == 1 then return end
  c.rope.scaling = scaling or { type = "default" }
  c.rope.scaling.attention_factor = extra.attention_factor
  if c.rope.scaling.type == "yarn" then c.rope.scaling.extrapolation_factor = extra.extrapolation_factor end
end

return gguf_rope
