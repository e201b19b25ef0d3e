-- GGUF files as models: metadata becomes what a config.json would say, and the family's `gguf` table says
-- which stored tensor is which module.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local names_of = require "perilune.base.names_of"
local family = require "perilune.loaded.family"

local gguf_folder = {}

-- Tensors that are no module: read below, or made again from the metadata.
local unused = { "rope_factors_long.weight", "rope_factors_short.weight", "blk.*.attn_rot_embd" }

local function bad(path, message, hint) return raise("format", "load", path .. ": " .. message, hint) end

-- Families whose metadata begins with this architecture, best first: the one that most of the keys it
-- reads are there for (Mistral's files say "llama", and name a window).
local function choose_family(path, architecture, values)
  local best, most, known = nil, -1, {}
  for _, t in ipairs(family.list()) do
    local present, claims = 0, false
    for _, key in pairs(t.gguf and t.gguf.metadata or {}) do
      local prefix = key:match "^[^.]+"
      claims = claims or prefix == architecture
      known[prefix] = true
      if values[key] ~= nil then present = present + 1 end
    end
    if claims and present > most then best, most = t, present end
  end
  if best then return best end
  local names = names_of(known)
  local near = core.nearest(architecture, names)
  return raise("unsupported", "load", ("%s: no family reads GGUF files of architecture %q"):format(path, architecture),
    (near and ("did you mean %q? "):format(near) or "") .. "known: " .. table.concat(names, ", ") .. "; pl.family adds one")
end

local function refuse_unsupported(path, architecture, values)
  local experts = values[architecture .. ".expert_count"]
  if type(experts) == "number" and experts > 0 then
    raise("unsupported", "load", ("%s: a mixture of %d experts (%s.expert_count), which is not supported"):format(path, experts, architecture))
  end
  local kind = values["general.type"]
  if kind ~= nil and kind ~= "model" then
    raise("unsupported", "load", ("%s holds no model: general.type is %s"):format(path, options.show(kind)))
  end
  local keys, values_ = values[architecture .. ".attention.key_length"], values[architecture .. ".attention.value_length"]
  if keys and values_ and keys ~= values_ then
    raise("unsupported", "load", ("%s: attention.key_length %s and attention.value_length %s differ"):format(path,
      options.show(keys), options.show(values_)))
  end
end

-- One value for all layers, where a file lists one for each.
local function same_for_all(path, key, value)
  if type(value) ~= "table" then return value end
  for _, one in ipairs(value) do
    if one ~= value[1] then
      raise("unsupported", "load", ("%s: %s differs from layer to layer, which is not supported"):format(path, key))
    end
  end
  return value[1]
end

local function factors(path, name)
  local file = core.open_tensors(path)
  local list = file:has(name) and file:tensor(name):to "f32":tolist() or nil
  file:close()
  return list
end

-- Rotary scaling as config.json would state it.
local function rope_scaling(path, architecture, values, sizes)
  local function of(key) return values[architecture .. ".rope.scaling." .. key] end
  local kind, factor = of "type", of "factor" or values[architecture .. ".rope.scale_linear"]
  local original = of "original_context_length"
  if sizes["rope_factors_long.weight"] then
    return { rope_type = "longrope", short_factor = factors(path, "rope_factors_short.weight"),
      long_factor = factors(path, "rope_factors_long.weight"), attention_factor = of "attn_factor",
      original_max_position_embeddings = original }
  end
  if kind == nil and factor ~= nil and factor ~= 0 and factor ~= 1 then kind = "linear" end
  if kind == nil or kind == "none" then return nil end
  if kind == "linear" then return { rope_type = "linear", factor = factor } end
  if kind == "yarn" then
    return { rope_type = "yarn", factor = factor, original_max_position_embeddings = original, attention_factor = of "attn_factor",
      beta_fast = of "yarn_beta_fast", beta_slow = of "yarn_beta_slow" }
  end
  return raise("unsupported", "load", ("%s: %s.rope.scaling.type %s is not known"):format(path, architecture, options.show(kind)),
    "known types are none, linear, yarn, longrope")
end

local function add_rope(path, architecture, head, json)
  local values = head.values
  json.rope_theta = values[architecture .. ".rope.freq_base"]
  json.rope_scaling = rope_scaling(path, architecture, values, head.sizes)
  local turned = values[architecture .. ".rope.dimension_count"]
  if turned == nil then return end
  local heads, hidden = json.num_attention_heads, json.hidden_size
  local head_dim = json.head_dim or (heads and hidden and hidden / heads)
  if type(turned) == "number" and type(head_dim) == "number" and turned ~= head_dim then json.partial_rotary_factor = turned / head_dim end
end

-- Ids that generation and the pairing check ask for. What ends a turn ends an answer too.
local function special_ids(values, json)
  local function id(name)
    local value = values["tokenizer.ggml." .. name .. "_token_id"]
    return type(value) == "number" and value >= 0 and value < 2 ^ 31 and value or nil
  end
  json.bos_token_id, json.pad_token_id = id "bos", id "padding"
  local ends, seen = {}, {}
  for _, name in ipairs { "eos", "eot" } do
    local value = id(name)
    if value and not seen[value] then ends[#ends + 1], seen[value] = value, true end
  end
  json.eos_token_id = #ends > 1 and ends or ends[1]
end

-- How vectors of whole texts are made, by the number that files give.
local poolings = { [1] = "mean", [2] = "cls", [3] = "last" }

--- What a GGUF file says, as a model folder would.
---@param path string
---@return table record { json=, family=, head=, recipe= (of embeddings, where the file has one) }
function gguf_folder.read(path)
  local head = core.gguf_head(path)
  if not head then
    core.open_tensors(path):close()   -- says what is wrong with a file that is neither
    raise("unsupported", "load", path .. " is not a GGUF file", "a model is a folder with config.json and weights, or a .gguf file")
  end
  local architecture = head.values["general.architecture"]
  if type(architecture) ~= "string" then bad(path, "general.architecture does not name an architecture") end
  local t = choose_family(path, architecture, head.values)
  refuse_unsupported(path, architecture, head.values)
  local json = { model_type = t.model_types and t.model_types[1] }
  if not json.model_type then json.architectures = { (next(t.architectures)) } end
  for key, name in pairs(t.gguf.metadata) do json[key] = same_for_all(path, name, head.values[name]) end
  local embedding = head.sizes["token_embd.weight"]
  if not embedding then bad(path, "there is no tensor token_embd.weight") end
  json.vocab_size = embedding[1]
  json.tie_word_embeddings = head.sizes["output.weight"] == nil
  local rotary = false
  for _, key in ipairs(t.keys or {}) do rotary = rotary or key == "rope_theta" end
  if rotary then add_rope(path, architecture, head, json) end
  special_ids(head.values, json)
  if t.gguf.complete then t.gguf.complete(json, head) end
  local pooling = poolings[head.values[architecture .. ".pooling_type"]]
  return { json = json, family = t, head = head, recipe = pooling and { pooling = { pooling } } }
end

--- Options of core.checkpoint for the file, and what its tensors add to the family's config.
---@param record table what gguf.read gave
---@param c table the family's config; changed
---@return table
function gguf_folder.checkpoint_options(record, c)
  local t = record.family.gguf
  local o = { views = {}, unused = { unpack(unused) }, axes = c.axes, permute = {}, add = t.add }
  for pattern, view in pairs(t.views and t.views(c) or {}) do o.views[pattern] = view end
  local tensors = type(t.tensors) == "function" and t.tensors(c) or t.tensors
  for pattern, module in pairs(tensors) do o.views[pattern] = { rename = module } end
  for module, axis in pairs(t.permute or {}) do o.permute[module:find "[*.]" and module or "*." .. module] = axis end
  for _, pattern in ipairs(record.family.unused or {}) do o.unused[#o.unused + 1] = pattern end
  if record.head.sizes["rope_freqs.weight"] then
    if c.rope then c.rope.factors = "rope_freqs.weight" else o.unused[#o.unused + 1] = "rope_freqs.weight" end
  end
  return o
end

return gguf_folder
