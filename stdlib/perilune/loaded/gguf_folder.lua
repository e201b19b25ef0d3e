-- GGUF files as models: metadata becomes what a config.json would say, and the family's `gguf` table says
-- which stored tensor is which module.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local names_of = require "perilune.base.names_of"
local family = require "perilune.loaded.family"
local gguf_rope = require "perilune.loaded.gguf_rope"

local gguf_folder = {}

-- A table of angles that old files carry: made again from the metadata.
local unused = { "blk.*.attn_rot_embd" }

-- Keys below the architecture's name that change no value of a pass, or are read by other names.
local harmless = { vocab_size = true, pooling_type = true, expert_count = true, expert_used_count = true, tensor_data_layout = true,
  ["attention.key_length"] = true, ["attention.value_length"] = true, ["attention.causal"] = true,
  ["attention.layer_norm_epsilon"] = true, ["attention.layer_norm_rms_epsilon"] = true }

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

local function refuse_unsupported(path, architecture, values, t)
  local experts = values[architecture .. ".expert_count"]
  if type(experts) == "number" and experts > 0 then
    raise("unsupported", "load", ("%s: a mixture of %d experts (%s.expert_count), which is not supported"):format(path, experts, architecture))
  end
  local kind = values["general.type"]
  if kind ~= nil and kind ~= "model" then
    raise("unsupported", "load", ("%s holds no model: general.type is %s"):format(path, options.show(kind)))
  end
  local causal = values[architecture .. ".attention.causal"]
  if causal ~= nil and causal ~= (t.encode == nil or t.decode ~= nil) then
    raise("unsupported", "load", ("%s: %s.attention.causal is %s, which models of family %s are not"):format(path, architecture,
      options.show(causal), t.name))
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

-- Warnings for keys of the architecture that nothing here reads.
local function unread_keys(t, architecture, head, rotary)
  local known, list = {}, {}
  for _, key in pairs(t.gguf.metadata) do known[key] = true end
  for key in pairs(harmless) do known[architecture .. "." .. key] = true end
  for key in pairs(rotary and gguf_rope.keys or {}) do known[architecture .. "." .. key] = true end
  for _, keys in ipairs { head.values, head.counts } do
    for key in pairs(keys) do
      if key:sub(1, #architecture + 1) == architecture .. "." and not known[key] then
        known[key], list[#list + 1] = true, ("family %s does not know the key %s; it is ignored"):format(t.name, key)
      end
    end
  end
  table.sort(list)
  return list
end

--- What a GGUF file, or the first of its shards, says, as a model folder would.
---@param path string the file, or any of its shards
---@return table record { path=, json=, family=, head=, recipe= (of embeddings, where the file has one), rope=, warnings= }
function gguf_folder.read(path)
  local head = core.gguf_head(path)
  if not head then
    core.open_tensors(path):close()   -- says what is wrong with a file that is neither
    raise("unsupported", "load", path .. " is not a GGUF file", "a model is a folder with config.json and weights, or a .gguf file")
  end
  path = head.path
  local architecture = head.values["general.architecture"]
  if type(architecture) ~= "string" then bad(path, "general.architecture does not name an architecture") end
  local t = choose_family(path, architecture, head.values)
  refuse_unsupported(path, architecture, head.values, t)
  local json = { model_type = t.model_types and t.model_types[1] }
  if not json.model_type then json.architectures = { (next(t.architectures)) } end
  for key, name in pairs(t.gguf.metadata) do json[key] = same_for_all(path, name, head.values[name]) end
  local embedding = head.sizes["token_embd.weight"]
  if not embedding then bad(path, "there is no tensor token_embd.weight") end
  json.vocab_size = embedding[1]
  json.tie_word_embeddings = head.sizes["output.weight"] == nil
  local rotary = false
  for _, key in ipairs(t.keys or {}) do rotary = rotary or key == "rope_theta" end
  local warnings = unread_keys(t, architecture, head, rotary)
  local turns = rotary and gguf_rope.read(path, architecture, head, json, warnings) or nil
  special_ids(head.values, json)
  if json.sliding_window == 0 then json.sliding_window = nil end
  if t.gguf.complete then t.gguf.complete(json, head) end
  local pooling = poolings[head.values[architecture .. ".pooling_type"]]
  return { path = path, json = json, family = t, head = head, recipe = pooling and { pooling = { pooling } }, rope = turns,
    warnings = warnings }
end

-- Biases are there or not, whatever the family's other files say.
local function see_biases(sizes, c)
  for key, name in pairs { qkv_bias = "attn_q", output_bias = "attn_output", mlp_bias = "ffn_up" } do
    if type(c[key]) == "boolean" then c[key] = sizes["blk.0." .. name .. ".bias"] ~= nil end
  end
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
  see_biases(record.head.sizes, c)
  gguf_rope.apply(record, c, o.unused)
  return o
end

return gguf_folder
