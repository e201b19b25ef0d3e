-- Reading config.json: every value is checked where it is read, and named when it is wrong.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local rope = require "perilune.families.rope"
local defaults = require "perilune.families.defaults"

local config = {}
for name, method in pairs(defaults) do config[name] = method end   -- read together: what a file says, and leaves out

local function bad(key, what, value)
  return raise("format", "load", ("config.json: %s must be %s, got %s"):format(key, what,
    value == nil and "nothing" or options.show(value)))
end

--- A whole number in [least, most]; `default` where the key is absent or null, an error without one.
---@param json table
---@param key string
---@param default integer|nil
---@param least integer|nil default 1
---@param most integer|nil default 2^31 - 1
---@return integer
function config.integer(json, key, default, least, most)
  local value = json[key]
  if value == nil then value = default end
  least, most = least or 1, most or 2147483647
  if type(value) ~= "number" or value % 1 ~= 0 or value < least or value > most then
    bad(key, ("a whole number from %d to %d"):format(least, most), value)
  end
  return value
end

--- A layer count: small enough that a family's loop ends soon.
---@param json table
---@param key string
---@param default integer|nil
---@return integer
function config.layers(json, key, default) return config.integer(json, key, default, 1, 4096) end

--- A finite number.
---@param json table
---@param key string
---@param default number|nil
---@return number
function config.number(json, key, default)
  local value = json[key]
  if value == nil then value = default end
  if type(value) ~= "number" or value ~= value or math.abs(value) == math.huge then bad(key, "a number", value) end
  return value
end

--- A finite number above 0.
---@param json table
---@param key string
---@param default number|nil
---@return number
function config.positive(json, key, default)
  local value = config.number(json, key, default)
  if value <= 0 then bad(key, "a number above 0", value) end
  return value
end

--- A norm's epsilon: positive.
---@param json table
---@param key string
---@param default number|nil
---@return number
function config.epsilon(json, key, default)
  local value = config.number(json, key, default)
  if value <= 0 or value >= 1 then bad(key, "a number above 0 and below 1", value) end
  return value
end

--- true or false.
---@param json table
---@param key string
---@param default boolean
---@return boolean
function config.boolean(json, key, default)
  local value = json[key]
  if value == nil then value = default end
  if type(value) ~= "boolean" then bad(key, "true or false", value) end
  return value
end

--- An activation by its published name; one that no kernel knows raises.
---@param json table
---@param key string
---@param default string|nil
---@return string
function config.activation(json, key, default)
  local value = json[key]
  if value == nil then value = default end
  if type(value) ~= "string" then bad(key, "the name of an activation", value) end
  local known, lacks = core.activation_known(value)
  if not known then
    raise("unsupported", "load", ('config.json: %s: activation "%s" is not known%s'):format(key, value,
      lacks == "" and "" or ": " .. lacks))
  end
  return value
end

--- Raises unless the key is absent, null or one of the values: others would change the mathematics.
---@param json table
---@param key string
---@param ... any supported values
function config.only(json, key, ...)
  local value = json[key]
  if value == nil then return end
  local words = {}
  for i = 1, select("#", ...) do
    local allowed = select(i, ...)
    if value == allowed then return end
    words[i] = options.show(allowed)
  end
  raise("unsupported", "load", ("config.json: %s = %s is not supported: it changes the mathematics; supported: %s")
    :format(key, options.show(value), table.concat(words, ", ")))
end

--- Raises unless the file is of a model that only encodes.
---@param json table
function config.encoder_only(json)
  config.only(json, "is_decoder", false)
  config.only(json, "add_cross_attention", false)
  config.only(json, "is_encoder_decoder", false)
end

--- Raises unless the file is of a model that only decodes, each token from those before it.
---@param json table
function config.decoder_only(json)
  config.only(json, "is_encoder_decoder", false)
  config.only(json, "is_causal", true)
end

--- Class names by id ("id2label"), or the number of unnamed ones ("num_labels").
---@param json table
---@return integer count
---@return table<integer, string>|nil labels by 0-based id; nil for unnamed ones
function config.labels(json)
  local labels, count = {}, 0
  local map = json.id2label
  if map ~= nil then
    if type(map) ~= "table" then bad("id2label", "a map from ids to names", map) end
    for id, name in pairs(map) do
      local number = tonumber(id)
      if not number or number % 1 ~= 0 or number < 0 or number > 1e6 or type(name) ~= "string" then
        bad("id2label", "a map from ids to names", id)
      end
      labels[number], count = name, count + 1
    end
    for id = 0, count - 1 do
      if labels[id] == nil then bad("id2label", "a name for every id from 0 to " .. count - 1, map) end
    end
  end
  if count == 0 then return config.integer(json, "num_labels", 2), nil end
  if json.num_labels ~= nil and json.num_labels ~= count then   -- as published
    config.warn(json, ("num_labels %s counts, not the %d names of id2label"):format(options.show(json.num_labels), count))
    return config.integer(json, "num_labels"), nil
  end
  return count, labels
end

--- The class names of a model whose weights were held against the number of classes: the family's, the
--- file's, or made ones.
---@param c table the family's config
---@param json table
---@param has_classes boolean whether the head answers with classes
---@return table<integer, string>|nil
function config.label_names(c, json, has_classes)
  if c.labels then return c.labels end
  if json.id2label ~= nil then
    local _, labels = config.labels(json)
    if labels then return labels end
  end
  if not has_classes then return nil end
  local labels = {}
  for id = 0, (c.axes.class or 0) - 1 do labels[id] = "LABEL_" .. id end
  return labels
end

--- Heads and their size. `head_dim` must be given, or hidden divide evenly.
---@param hidden integer
---@param heads integer
---@param hidden_key string
---@param heads_key string
---@return integer head_dim
function config.head_dim(hidden, heads, hidden_key, heads_key)
  if hidden % heads ~= 0 then
    raise("shape", "load", ("config.json: %s %d does not split into %s %d heads"):format(hidden_key, hidden, heads_key, heads),
      "one of the two is wrong, or head_dim is missing")
  end
  return hidden / heads
end

-- What `layer_types` may say of a layer.
local layer_kinds = { full_attention = true, sliding_attention = true }

local function layer_types(json, layers)
  local list = json.layer_types
  if list == nil then return nil end
  if type(list) ~= "table" or #list ~= layers then bad("layer_types", ("a list of %d kinds of layers"):format(layers), list) end
  for i, kind in ipairs(list) do
    if not layer_kinds[kind] then
      raise("unsupported", "load", ("config.json: layer_types: layer %d is %s"):format(i - 1, options.show(kind)),
        "known kinds are full_attention and sliding_attention")
    end
  end
  return list
end

-- The width of a window; 0 is no window.
local function width(json)
  if json.sliding_window == 0 then
    config.warn(json, "sliding_window is 0, which is read as none")
    json.sliding_window = nil
  end
  return json.sliding_window ~= nil and config.integer(json, "sliding_window") or nil
end

--- How many of the last positions each layer sees: `windows[i]` for layer i from 0, nil for all. From
--- `layer_types` where the file has it, else from `slides(i)`; the width is `sliding_window`.
---@param json table
---@param layers integer
---@param slides fun(layer: integer): boolean
---@return table<integer, integer> windows
function config.windows(json, layers, slides)
  local windows, list = {}, layer_types(json, layers)
  for i = 0, layers - 1 do
    local kind = list and list[i + 1]
    local sliding = slides(i)
    if list then sliding = kind == "sliding_attention" end
    if sliding then windows[i] = config.integer(json, "sliding_window") end
  end
  return windows
end

--- One width for every layer, or none, whatever layer_types says: families whose published code looks at
--- sliding_window alone.
---@param json table
---@param layers integer
---@return table<integer, integer> windows
function config.one_window(json, layers)
  local windows, seen = {}, width(json)
  local kind = seen and "sliding_attention" or "full_attention"
  for i = 0, layers - 1 do windows[i] = seen end
  for i, other in ipairs(layer_types(json, layers) or {}) do
    if other ~= kind then
      config.warn(json, ("layer_types: layer %d is %s; it is not read, every layer is %s as sliding_window says"):format(i - 1,
        options.show(other), kind))
      break
    end
  end
  return windows
end

-- What the rotary options are read from. GPT-NeoX's names are not read here; nor, where no share of a head
-- is the family's own, partial_rotary_factor beside a default rope: published code does not.
local function rotary(json, share)
  local values = {}
  for key, value in pairs(json) do values[key] = value end
  values.rotary_pct, values.rotary_emb_base = nil, nil
  local parameters = rope.parameters(json)
  local part = parameters.partial_rotary_factor or json.partial_rotary_factor
  if share or not defaults.from_file(json) or part == nil or part == 1 or (parameters.rope_type or parameters.type or "default") ~= "default" then
    return values
  end
  config.warn(json, "partial_rotary_factor is not read: models of this family turn whole heads")
  values.rope_parameters, values.rope_scaling, values.partial_rotary_factor = {}, nil, nil
  for key, value in pairs(parameters) do values.rope_parameters[key] = value end
  values.rope_parameters.partial_rotary_factor = nil
  return values
end

--- Sizes and switches that the decoders with rotary positions and published names in common share; a
--- family changes what differs.
---@param json table
---@param share number|nil the part of a head that turns; default: whole heads only
---@return table c
function config.decoder(json, share)
  local hidden = config.integer(json, "hidden_size")
  local heads = config.integer(json, "num_attention_heads")
  local kv_heads = config.integer(json, "num_key_value_heads", heads)
  if heads % kv_heads ~= 0 then
    raise("shape", "load", ("config.json: num_attention_heads %d is not a multiple of num_key_value_heads %d"):format(heads, kv_heads))
  end
  local head_dim = json.head_dim and config.integer(json, "head_dim")
    or config.head_dim(hidden, heads, "hidden_size", "num_attention_heads")
  config.decoder_only(json)
  if config.boolean(json, "rope_interleaved", false) then
    config.warn(json, "rope_interleaved is not read: models of this family turn halves of a head")
  end
  local turned = rope.rope_options(rotary(json, share), head_dim, share)
  if turned.dims ~= head_dim and not share then
    raise("unsupported", "load", "config.json: partial_rotary_factor is not supported: models of this family turn whole heads")
  end
  return {
    layers = config.layers(json, "num_hidden_layers"),
    axes = { hidden = hidden, ffn = config.integer(json, "intermediate_size"), head = heads, kv_head = kv_heads,
      head_dim = head_dim, vocab = config.integer(json, "vocab_size") },
    max_tokens = rope.rope_positions(config.integer(json, "max_position_embeddings", 2048), turned),
    norm_eps = config.epsilon(json, "rms_norm_eps", 1e-6),
    activation = config.activation(json, "hidden_act", "silu"),
    tied = config.boolean(json, "tie_word_embeddings", false),
    rope = turned,
    windows = {},   -- by layer from 0: how many of the last positions it sees; nil: all
    qkv_bias = false, output_bias = false, mlp_bias = false, qk_norm = false,
  }
end

--- The keys that config.decoder reads, and those of the family's own: what a family says in `keys`.
---@param own string[]
---@return string[]
function config.decoder_keys(own)
  local keys = { "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "head_dim", "hidden_act", "max_position_embeddings", "original_max_position_embeddings", "rms_norm_eps", "rope_theta",
    "rope_scaling", "rope_parameters", "rope_interleaved", "partial_rotary_factor", "tie_word_embeddings", "vocab_size",
    "is_causal", "is_decoder", "is_encoder_decoder" }
  for _, key in ipairs(own) do keys[#keys + 1] = key end
  return keys
end

--- Windows of the layers from `max_window_layers` on, where the file turns them on.
---@param json table
---@param layers integer
---@return table<integer, integer>
function config.late_windows(json, layers)
  local used = config.boolean(json, "use_sliding_window", false) and width(json) ~= nil
  local first = config.integer(json, "max_window_layers", 28, 0)
  if used then return config.windows(json, layers, function(i) return i >= first end) end
  for _, kind in ipairs(type(json.layer_types) == "table" and json.layer_types or {}) do
    if kind ~= "full_attention" then config.only(json, "use_sliding_window", true) end
  end
  return {}
end

-- Keys that say nothing about the mathematics of a pass: training, bookkeeping, defaults of
-- generation (read by generate), names of classes, ids of special tokens.
config.shared_keys = {}
for key in ([[
  architectures model_type torch_dtype dtype quantization_config transformers_version _name_or_path _attn_implementation
  attn_implementation _commit_hash use_cache initializer_range initializer_factor gradient_checkpointing
  attention_dropout attn_pdrop embd_pdrop resid_pdrop hidden_dropout hidden_dropout_prob dropout dropout_rate
  attention_probs_dropout_prob activation_dropout classifier_dropout layerdrop embedding_dropout
  summary_activation summary_first_dropout summary_proj_to_labels summary_type summary_use_proj
  bos_token_id eos_token_id pad_token_id sep_token_id cls_token_id mask_token_id unk_token_id
  id2label label2id num_labels problem_type task_specific_params finetuning_task output_past
  output_attentions output_hidden_states return_dict torchscript use_bfloat16 tokenizer_class prefix
  tie_encoder_decoder chunk_size_feed_forward max_length min_length do_sample early_stopping num_beams
  num_beam_groups diversity_penalty temperature top_k top_p min_p typical_p repetition_penalty length_penalty
  no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids num_return_sequences output_scores
  return_dict_in_generate forced_bos_token_id forced_eos_token_id remove_invalid_values max_new_tokens
  exponential_decay_length_penalty suppress_tokens begin_suppress_tokens tf_legacy_loss directionality
  pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head pooler_type
  unsloth_version unsloth_fixed is_llama_config n_special predict_special_tokens
]]):gmatch "%S+" do config.shared_keys[key] = true end

return config
