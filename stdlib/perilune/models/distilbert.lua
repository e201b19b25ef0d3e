-- DistilBERT: BERT with half the layers, without segments and pooler.
local config = require "perilune.families.config"
local bert = require "perilune.models.bert"
local encoder_layers = require "perilune.models.encoder_layers"

local distilbert = {
  name = "distilbert",
  model_types = { "distilbert" },
  architectures = { DistilBertModel = "base", DistilBertForMaskedLM = "masked",
    DistilBertForSequenceClassification = "sequence", DistilBertForTokenClassification = "token",
    DistilBertForQuestionAnswering = "question" },
  padding = "right",
  tokenizers = { "wordpiece" },
  embedding = "embeddings.word_embeddings",
  ties = { { "embeddings.word_embeddings.weight", "vocab_projector.weight" } },
  prefixes = { "distilbert." },
  unused = { "embeddings.position_ids", "vocab_projector.*" },
  keys = { "vocab_size", "dim", "n_layers", "n_heads", "hidden_dim", "activation", "max_position_embeddings",
    "sinusoidal_pos_embds", "qa_dropout", "seq_classif_dropout", "tie_word_embeddings", "tie_weights_",
    "is_encoder_decoder", "is_decoder", "add_cross_attention" },
}

local other_names = { hidden_size = "dim", num_hidden_layers = "n_layers", num_attention_heads = "n_heads" }
for name in pairs(other_names) do distilbert.keys[#distilbert.keys + 1] = name end

function distilbert.config(json)
  config.aliases(json, other_names)
  config.sizes(json, { vocab_size = 30522, dim = 768, n_layers = 6, n_heads = 12, hidden_dim = 3072 })
  local hidden, heads = config.integer(json, "dim"), config.integer(json, "n_heads")
  config.encoder_only(json)
  local classes, labels = config.labels(json)
  local positions = config.integer(json, "max_position_embeddings", 512)
  return {
    layers = config.layers(json, "n_layers"),
    axes = { hidden = hidden, ffn = config.integer(json, "hidden_dim"), head = heads, kv_head = heads,
      head_dim = config.head_dim(hidden, heads, "dim", "n_heads"), vocab = config.integer(json, "vocab_size"), class = classes },
    max_tokens = positions,
    rows = { ["embeddings.position_embeddings"] = { "max_position_embeddings", positions } },
    norm_eps = 1e-12,   -- not in the file: the published code has it
    activation = config.activation(json, "activation", "gelu"),
    tied = config.boolean(json, "tie_word_embeddings", true),
    labels = labels,
  }
end

distilbert.weights = bert.weights

local modules = { layer = "transformer.layer.", query = "attention.q_lin", key = "attention.k_lin", value = "attention.v_lin",
  joined = "attention.out_lin", attention_norm = "sa_layer_norm", up = "ffn.lin1", down = "ffn.lin2", norm = "output_layer_norm" }

function distilbert.encode(net, batch)
  local c = net.config
  local x = net:embedding(batch.ids, "embeddings.word_embeddings") + net:embedding(batch.positions, "embeddings.position_embeddings")
  x = net:mark("embeddings", net:layer_norm(x, "embeddings.LayerNorm", c.norm_eps))
  return encoder_layers(net, x, modules)
end

distilbert.heads = {
  base = function(_, x) return { last_hidden_state = x } end,
  token = bert.heads.token,
  question = bert.heads.question,
  sequence = function(net, x)
    local h = net:activation(net:linear(net:select(x, "first"), "pre_classifier", "hidden", { bias = true }), "relu")
    return net:linear(h, "classifier", "class", { bias = true })
  end,
  masked = function(net, x)
    local c = net.config
    local h = net:activation(net:linear(x, "vocab_transform", "hidden", { bias = true }), c.activation)
    h = net:layer_norm(h, "vocab_layer_norm", c.norm_eps)
    local tied = c.tied and not net:has "vocab_projector.weight"
    return net:head(h, "vocab_projector", "vocab", { tied = tied and "embeddings.word_embeddings" or nil, bias = "vocab_projector.bias" })
  end,
}

return distilbert
