-- Reading config.json: every value is checked where it is read, and named when it is wrong.
local core = require "perilune.core"
local raise = require "perilune.raise"
local options = require "perilune.options"

local config = {}

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
  if not core.activation_known(value) then
    raise("unsupported", "load", ('config.json: %s: activation "%s" is not known'):format(key, value))
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

--- Class names by id ("id2label", or "num_labels" unnamed ones).
---@param json table
---@return integer count
---@return table<integer, string> labels by 0-based id
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
  if count == 0 then
    count = config.integer(json, "num_labels", 2)
    for id = 0, count - 1 do labels[id] = "LABEL_" .. id end
  end
  return count, labels
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

-- Keys that say nothing about the mathematics of a pass: training, bookkeeping, defaults of
-- generation (read by generate), names of classes, ids of special tokens.
config.shared_keys = {}
for key in ([[
  architectures model_type torch_dtype dtype transformers_version _name_or_path _attn_implementation
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
