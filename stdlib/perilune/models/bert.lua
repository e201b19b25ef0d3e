-- BERT: an encoder that sees both sides, layer norm after each half, learned positions and segments.
local config = require "perilune.families.config"
local encoder_layers = require "perilune.models.encoder_layers"

local bert = {
  name = "bert",
  model_types = { "bert" },
  architectures = { BertModel = "base", BertForMaskedLM = "masked", BertForPreTraining = "masked",
    BertForSequenceClassification = "sequence", BertForTokenClassification = "token", BertForQuestionAnswering = "question" },
  padding = "right",
  tokenizers = { "wordpiece" },
  embedding = "embeddings.word_embeddings",
  ties = { { "embeddings.word_embeddings.weight", "cls.predictions.decoder.weight" },
    { "cls.predictions.bias", "cls.predictions.decoder.bias" } },
  prefixes = { "bert." },
  unused = { "embeddings.position_ids", "cls.seq_relationship.*", "cls.predictions.decoder.*", "cls.predictions.bias" },
  keys = { "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act",
    "max_position_embeddings", "type_vocab_size", "layer_norm_eps", "position_embedding_type", "is_decoder",
    "add_cross_attention", "tie_word_embeddings", "is_encoder_decoder" },
}

--- The config of an encoder like BERT.
---@param json table
---@param vocab integer|nil rows of the embedding where the file does not say
---@return table c
function bert.config(json, vocab)
  config.sizes(json, { vocab_size = vocab or 30522, hidden_size = 768, num_hidden_layers = 12, num_attention_heads = 12,
    intermediate_size = 3072 })
  local hidden, heads = config.integer(json, "hidden_size"), config.integer(json, "num_attention_heads")
  config.only(json, "position_embedding_type", "absolute")
  config.encoder_only(json)
  local classes, labels = config.labels(json)
  local positions, types = config.integer(json, "max_position_embeddings", 512), config.integer(json, "type_vocab_size", 2)
  return {
    layers = config.layers(json, "num_hidden_layers"),
    axes = { hidden = hidden, ffn = config.integer(json, "intermediate_size"), head = heads, kv_head = heads,
      head_dim = config.head_dim(hidden, heads, "hidden_size", "num_attention_heads"),
      vocab = config.integer(json, "vocab_size"), class = classes },
    max_tokens = positions,
    first_position = 0,
    types = types,
    rows = { ["embeddings.position_embeddings"] = { "max_position_embeddings", positions },
      ["embeddings.token_type_embeddings"] = { "type_vocab_size", types } },
    norm_eps = config.epsilon(json, "layer_norm_eps", 1e-12),
    activation = config.activation(json, "hidden_act", "gelu"),
    tied = config.boolean(json, "tie_word_embeddings", true),
    labels = labels,
  }
end

function bert.weights()
  return {
    ["*.LayerNorm.gamma"] = { rename = "*.LayerNorm.weight" },
    ["*.LayerNorm.beta"] = { rename = "*.LayerNorm.bias" },
  }
end

local modules = { layer = "encoder.layer.", query = "attention.self.query", key = "attention.self.key", value = "attention.self.value",
  joined = "attention.output.dense", attention_norm = "attention.output.LayerNorm", up = "intermediate.dense", down = "output.dense",
  norm = "output.LayerNorm" }

function bert.encode(net, batch)
  local c = net.config
  local x = net:embedding(batch.ids, "embeddings.word_embeddings")
    + net:embedding(batch.type_ids, "embeddings.token_type_embeddings")
    + net:embedding(batch.positions, "embeddings.position_embeddings", { offset = c.first_position })
  x = net:mark("embeddings", net:layer_norm(x, "embeddings.LayerNorm", c.norm_eps))
  return encoder_layers(net, x, modules)
end

local function pooled(net, x)
  return net:activation(net:linear(net:select(x, "first"), "pooler.dense", "hidden", { bias = true }), "tanh")
end

bert.heads = {
  base = function(net, x)
    return { last_hidden_state = x, pooled = net:has "pooler.dense" and pooled(net, x) or nil }
  end,
  sequence = function(net, x) return net:linear(pooled(net, x), "classifier", "class", { bias = true }) end,
  token = function(net, x) return net:linear(x, "classifier", "class", { bias = true }) end,
  question = function(net, x)
    local y = net:scope("", "", { axes = { class = 2 } }):linear(x, "qa_outputs", "class", { bias = true })
    return { start_logits = y:at { class = 0 }, end_logits = y:at { class = 1 } }
  end,
  masked = function(net, x)
    local c = net.config
    local h = net:activation(net:linear(x, "cls.predictions.transform.dense", "hidden", { bias = true }), c.activation)
    h = net:layer_norm(h, "cls.predictions.transform.LayerNorm", c.norm_eps)
    local tied = c.tied and not net:has "cls.predictions.decoder.weight"
    local own_bias = net:has "cls.predictions.decoder.bias"   -- what the published layer adds, where it is stored
    return net:head(h, "cls.predictions.decoder", "vocab", { tied = tied and "embeddings.word_embeddings" or nil,
      bias = own_bias and "cls.predictions.decoder.bias" or "cls.predictions.bias" })
  end,
}

local blocks = { attn_q = "query", attn_k = "key", attn_v = "value", attn_output = "joined", attn_output_norm = "attention_norm",
  ffn_up = "up", ffn_down = "down", layer_output_norm = "norm" }
bert.gguf = {
  metadata = { num_hidden_layers = "bert.block_count", hidden_size = "bert.embedding_length",
    intermediate_size = "bert.feed_forward_length", num_attention_heads = "bert.attention.head_count",
    max_position_embeddings = "bert.context_length", layer_norm_eps = "bert.attention.layer_norm_epsilon" },
  tensors = { token_embd = "embeddings.word_embeddings", position_embd = "embeddings.position_embeddings",
    token_types = "embeddings.token_type_embeddings", token_embd_norm = "embeddings.LayerNorm" },
  complete = function(json, head)
    local types = head.sizes["token_types.weight"]
    json.type_vocab_size, json.tie_word_embeddings = types and types[1], nil
  end,
}
for name, module in pairs(blocks) do bert.gguf.tensors["blk.*." .. name] = modules.layer .. "*." .. modules[module] end

return bert
