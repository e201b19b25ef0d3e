-- What a GGUF file says of a model: the family's table of keys turned around, from its config.
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"

local gguf_keys = {}

-- Keys below the architecture's name, by what the family's config knows; else config.json's own value stands there.
local from_config = {
  block_count = function(c) return type(c.layers) == "table" and c.layers.encoder or c.layers end,
  decoder_block_count = function(c) return type(c.layers) == "table" and c.layers.decoder or nil end,
  embedding_length = function(c) return c.axes.hidden end,
  feed_forward_length = function(c) return c.axes.ffn end,
  ["attention.head_count"] = function(c) return c.axes.head end,
  ["attention.head_count_kv"] = function(c) return c.axes.kv_head end,
  ["attention.key_length"] = function(c) return c.axes.head_dim end,
  context_length = function(c) return c.max_tokens end,
}

local function is_real(key)
  return key:find "epsilon" ~= nil or key:find "softcapping" ~= nil or key:find "freq_base" ~= nil or key:find "factor" ~= nil
end

local function pair(key, value)
  local kind = type(value) == "string" and "string" or type(value) == "boolean" and "boolean"
    or (is_real(key) or value % 1 ~= 0) and "f32" or "u32"
  return { key, kind, value }
end

-- Llama 3's stretching of angles, a factor for every pair: slow ones whole, fast ones not at all, between them a ramp.
local function llama3_factors(rope, head_dim)
  local scaling, dims, list = rope.scaling, rope.dims or head_dim, {}
  local original = scaling.original_max_position_embeddings
  local low, high = original / scaling.low_freq_factor, original / scaling.high_freq_factor
  for i = 0, dims / 2 - 1 do
    local length = 2 * math.pi * rope.theta ^ (2 * i / dims)
    local smooth = (original / length - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    list[i + 1] = length < high and 1 or length > low and scaling.factor or 1 / ((1 - smooth) / scaling.factor + smooth)
  end
  return list
end

--- Tensors that passes do not ask for by name: factors of rotary angles.
---@param s table a model's state
---@return table[] list of { name=, values= | sources= }
function gguf_keys.extra_tensors(s)
  local rope = s.c.rope
  if s.gguf then
    local list = {}
    for name, same_as in pairs(s.checkpoint:to_save()) do
      if name:find "^rope_" and same_as == "" then list[#list + 1] = { name = name, sources = { name } } end
    end
    return list
  end
  if not rope or not rope.scaling then return {} end
  if rope.scaling.type == "llama3" then
    return { { name = "rope_freqs.weight", values = llama3_factors(rope, s.c.axes.head_dim) } }
  end
  return {}
end

local function rope_keys(s, architecture, add)
  local rope = s.c.rope
  if not rope then return end
  add("rope.freq_base", rope.theta)
  add("rope.dimension_count", rope.dims or s.c.axes.head_dim)
  local scaling = rope.scaling
  if not scaling or scaling.type == "default" or scaling.type == "llama3" then return end
  if scaling.type ~= "linear" and scaling.type ~= "yarn" then
    raise("unsupported", "save", ("rotary scaling %s of %s is not written to GGUF files of %s yet"):format(options.show(scaling.type),
      s.path, architecture), "save it as a folder of safetensors")
  end
  add("rope.scaling.type", scaling.type)
  add("rope.scaling.factor", scaling.factor)
  add("rope.scaling.original_context_length", scaling.original_max_position_embeddings)
end

-- What general.file_type calls a file most of whose layers are stored so (llama.h, llama_ftype); of K types the plain kind.
local file_types = { f32 = 0, f16 = 1, q4_0 = 2, q4_1 = 3, q8_0 = 7, q5_0 = 8, q5_1 = 9, q2_k = 10, q3_k = 11, q4_k = 14, q5_k = 16,
  q6_k = 18, iq4_nl = 25, iq4_xs = 30, bf16 = 32, mxfp4 = 38 }

-- The number of the type that most of the layers' weights are stored in; nil where it has none.
local function file_type(s)
  local counts, most = {}, nil
  for name in pairs(s.checkpoint:to_save()) do
    local path = name:match "^(.*%.%d+%..*)%.weight$"
    local sizes = path and s.checkpoint:sizes(name)
    if sizes and #sizes == 2 then
      local storage = s.checkpoint:storage(path):lower()
      counts[storage] = (counts[storage] or 0) + sizes[1] * sizes[2]
    end
  end
  for storage, count in pairs(counts) do
    if not most or count > counts[most] or count == counts[most] and storage < most then most = storage end
  end
  return most and file_types[most]
end

--- The keys of a model: those of its architecture, or, of a model that came from a GGUF file, those that changed.
---@param s table a model's state
---@return table[] list of { key, kind, value }
function gguf_keys.of(s)
  local keys, kind = { { "general.quantization_version", "u32", 2 } }, file_type(s)
  if kind then keys[2] = { "general.file_type", "u32", kind } end
  if s.gguf then return keys end
  local metadata, architecture = s.family.gguf.metadata, nil
  for _, name in pairs(metadata) do architecture = architecture or name:match "^[^.]+" end
  table.insert(keys, 1, { "general.architecture", "string", architecture })
  table.insert(keys, 2, { "general.name", "string", s.path:match "[^/]*$" })
  local known = {}
  local function add(key, value)
    if value == nil or known[key] or type(value) == "table" then return end
    known[key] = true
    keys[#keys + 1] = pair(architecture .. "." .. key, value)
  end
  local names = {}
  for json, name in pairs(metadata) do names[#names + 1] = { name:match "^[^.]+%.(.*)$", json } end
  table.sort(names, function(a, b) return a[1] < b[1] end)
  for _, one in ipairs(names) do
    local own = from_config[one[1]]
    local value = own and own(s.c)
    if value == nil then value = s.config[one[2]] end
    if value == nil and one[1]:find "epsilon" then value = s.c.norm_eps end
    add(one[1], value)
  end
  if known["attention.key_length"] then add("attention.value_length", s.c.axes.head_dim) end
  add("vocab_size", s.vocab_rows)
  rope_keys(s, architecture, add)
  if s.family.encode and not s.family.decode then add("attention.causal", false) end
  return keys
end

return gguf_keys
