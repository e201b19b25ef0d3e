-- BART: an encoder-decoder with learned positions, layer norm after each part and biases everywhere.
-- Its classifiers let the decoder read the source again, one token late.
local config = require "perilune.families.config"
local bert = require "perilune.models.bert"

local bart = {
  name = "bart",
  model_types = { "bart" },
  architectures = { BartForConditionalGeneration = "seq2seq", BartModel = "base", BartForSequenceClassification = "sequence",
    BartForQuestionAnswering = "question" },
  padding = "right",
  tokenizers = { "bpe" },
  embedding = "shared",
  ties = { { "shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight" } },
  prefixes = { "model." },
  unused = { "shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight", "final_logits_bias" },
  keys = { "vocab_size", "d_model", "encoder_layers", "decoder_layers", "encoder_attention_heads",
    "decoder_attention_heads", "encoder_ffn_dim", "decoder_ffn_dim", "encoder_layerdrop", "decoder_layerdrop",
    "activation_function", "max_position_embeddings", "scale_embedding", "decoder_start_token_id", "init_std",
    "is_encoder_decoder", "is_decoder", "is_causal", "tie_word_embeddings", "num_hidden_layers", "add_bias_logits",
    "add_final_layer_norm", "normalize_before", "normalize_embedding", "static_position_embeddings",
    "extra_pos_embeddings", "classif_dropout", "classifier_dropout", "gradient_checkpointing" },
}

-- The decoder's sizes where they differ from the encoder's.
local function decoder_axes(json, hidden)
  local heads = config.integer(json, "decoder_attention_heads")
  return { ffn = config.integer(json, "decoder_ffn_dim"), head = heads, kv_head = heads,
    head_dim = config.head_dim(hidden, heads, "d_model", "decoder_attention_heads") }
end

local other_names = { hidden_size = "d_model", num_hidden_layers = "encoder_layers", num_attention_heads = "encoder_attention_heads" }
for name in pairs(other_names) do bart.keys[#bart.keys + 1] = name end

function bart.config(json)
  config.aliases(json, other_names)
  config.sizes(json, { vocab_size = 50265, d_model = 1024, encoder_layers = 12, decoder_layers = 12, encoder_attention_heads = 16,
    decoder_attention_heads = 16, encoder_ffn_dim = 4096, decoder_ffn_dim = 4096 })
  local hidden = config.integer(json, "d_model")
  local heads = config.integer(json, "encoder_attention_heads")
  config.only(json, "is_encoder_decoder", true)
  config.only(json, "is_causal", true)
  config.only(json, "normalize_before", false)        -- later families' switches that old files carry
  config.only(json, "add_final_layer_norm", false)
  config.only(json, "normalize_embedding", true)
  config.only(json, "static_position_embeddings", false)
  local positions = config.integer(json, "max_position_embeddings", 1024)
  local classes, labels = config.labels { id2label = json.id2label, num_labels = json.num_labels or 3 }   -- 3: the published default
  return {
    layers = { encoder = config.layers(json, "encoder_layers"), decoder = config.layers(json, "decoder_layers") },
    axes = { hidden = hidden, ffn = config.integer(json, "encoder_ffn_dim"), head = heads, kv_head = heads,
      head_dim = config.head_dim(hidden, heads, "d_model", "encoder_attention_heads"), vocab = config.integer(json, "vocab_size"),
      class = classes, row = 1 },
    decoder_axes = decoder_axes(json, hidden),
    tied = config.boolean(json, "tie_word_embeddings", true),
    max_tokens = positions, max_source = positions,
    rows = { ["encoder.embed_positions"] = { "max_position_embeddings", positions, 2 },
      ["decoder.embed_positions"] = { "max_position_embeddings", positions, 2 } },
    norm_eps = 1e-5,   -- not in the file: the published code's
    activation = config.activation(json, "activation_function", "gelu"),
    embedding_scale = config.boolean(json, "scale_embedding", false) and hidden ^ 0.5 or 1,
    decoder_start = config.integer(json, "decoder_start_token_id", 2, 0),
    eos = type(json.eos_token_id) == "number" and json.eos_token_id or 2,
    labels = labels,
  }
end

local function decoder_of(net) return net:scope("decoder", "decoder", { axes = net.config.decoder_axes }) end

local function embed(net, side, batch)
  local c = net.config
  local own = side:has "embed_tokens.weight"   -- the same elements where they are tied
  local x = (own and side or net):embedding(batch.ids, own and "embed_tokens" or "shared", { scale = c.embedding_scale })
    + side:embedding(batch.positions, "embed_positions", { offset = 2 })
  return side:mark("embeddings", side:layer_norm(x, "layernorm_embedding", c.norm_eps))
end

local function project(layer, x, path, axis) return layer:linear(x, path, { axis, "head_dim" }, { bias = true }) end

local function joined(layer, a, path) return layer:linear(a, path, "hidden", { over = { "head", "head_dim" }, bias = true }) end

local function feed_forward(layer, x)
  local c = layer.config
  local h = layer:activation(layer:linear(x, "fc1", "ffn", { bias = true }), c.activation)
  h = layer:mark("mlp", layer:linear(h, "fc2", "hidden", { bias = true }))
  return layer:mark(layer:layer_norm(x + h, "final_layer_norm", c.norm_eps))
end

function bart.encode(net, batch)
  local c = net.config
  local side = net:scope("encoder", "encoder")
  local x = embed(net, side, batch)
  for i = 0, c.layers.encoder - 1 do
    local layer = side:scope("layers." .. i, "layers." .. i)
    local q, k, v = project(layer, x, "self_attn.q_proj", "head"), project(layer, x, "self_attn.k_proj", "kv_head"),
      project(layer, x, "self_attn.v_proj", "kv_head")
    local a = layer:attention(q, layer:uncached(k, v), { mask = "none" })
    a = layer:mark("attention", joined(layer, a, "self_attn.out_proj"))
    x = feed_forward(layer, layer:layer_norm(x + a, "self_attn_layer_norm", c.norm_eps))
  end
  return x
end

function bart.cross(net, encoded)
  local side = decoder_of(net)
  for i = 0, net.config.layers.decoder - 1 do
    local layer = side:scope("layers." .. i, "layers." .. i)
    layer:cached(project(layer, encoded, "encoder_attn.k_proj", "kv_head"), project(layer, encoded, "encoder_attn.v_proj", "kv_head"),
      { kind = "cross" })
  end
end

function bart.decode(net, batch)
  local c = net.config
  local side = decoder_of(net)
  local x = embed(net, side, batch)
  for i = 0, c.layers.decoder - 1 do
    local layer = side:scope("layers." .. i, "layers." .. i)
    local q, k, v = project(layer, x, "self_attn.q_proj", "head"), project(layer, x, "self_attn.k_proj", "kv_head"),
      project(layer, x, "self_attn.v_proj", "kv_head")
    local a = layer:attention(q, layer:cached(k, v), { mask = "causal" })
    a = layer:mark("attention", joined(layer, a, "self_attn.out_proj"))
    x = layer:layer_norm(x + a, "self_attn_layer_norm", c.norm_eps)
    a = layer:attention(project(layer, x, "encoder_attn.q_proj", "head"), layer:cross(), { mask = "none", name = "cross_attention" })
    a = layer:mark("cross_attention", joined(layer, a, "encoder_attn.out_proj"))
    x = feed_forward(layer, layer:layer_norm(x + a, "encoder_attn_layer_norm", c.norm_eps))
  end
  return x
end

-- The source one token late, after the decoder's start. A sequence is judged by the state at its last
-- end of text, and nothing after that can reach it.
function bart.decoder_ids(c, source, head)
  if head ~= "sequence" and head ~= "question" then return nil end
  local last = #source
  if head == "sequence" then
    while last > 0 and source[last] ~= c.eos do last = last - 1 end
    if last == 0 then
      return nil, ("has no end of text (id %d), which this head reads; encode it with special=true"):format(c.eos)
    end
  end
  local ids = { c.decoder_start }
  for i = 2, last do ids[i] = source[i - 1] end
  return ids
end

bart.heads = {
  base = function(_, x) return { last_hidden_state = x } end,
  sequence = function(net, x)
    local h = net:linear(net:select(x, "last"), "classification_head.dense", "hidden", { bias = true })
    return net:linear(net:activation(h, "tanh"), "classification_head.out_proj", "class", { bias = true })
  end,
  question = bert.heads.question,
  seq2seq = function(net, x)
    local own = net:has "lm_head.weight"
    local logits = net:head(x, "lm_head", "vocab", { tied = not own and "shared" or nil })
    if not net:has "final_logits_bias" then return logits end
    return logits + net:tensor("final_logits_bias", { "row", "vocab" }):at { row = 1 }
  end,
}

return bart
