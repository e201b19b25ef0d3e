-- T5 and its relatives (v1.1, Flan): an encoder-decoder whose positions are a learned bias on
-- attention scores, RMS norm, no scaling of scores.
local config = require "perilune.families.config"
local raise = require "perilune.base.raise"

local t5 = {
  name = "t5",
  model_types = { "t5" },
  architectures = { T5ForConditionalGeneration = "seq2seq", T5Model = "base", T5WithLMHeadModel = "seq2seq" },
  padding = "right",
  tokenizers = { "sentencepiece", "unigram" },
  embedding = "shared",
  ties = function(c)
    return { { "shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", c.own_head and "shared.weight" or "lm_head.weight" } }
  end,
  unused = { "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight" },
  keys = { "vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_decoder_layers", "num_heads", "n_positions",
    "relative_attention_num_buckets", "relative_attention_max_distance", "layer_norm_epsilon", "feed_forward_proj",
    "dense_act_fn", "is_gated_act", "is_encoder_decoder", "is_causal", "is_decoder", "decoder_start_token_id",
    "tie_word_embeddings", "scale_decoder_outputs" },
}

-- "relu", "gated-gelu", "gated-silu": the published name of "gated-gelu" is that of gelu_new. What newer
-- files say of the two parts by themselves counts.
local function feed_forward(json)
  local name = json.feed_forward_proj or "relu"
  if type(name) ~= "string" then raise("format", "load", "config.json: feed_forward_proj must be a string") end
  local gated = name:match "^gated%-(.+)$"
  local activation = gated or name
  if name == "gated-gelu" then activation = "gelu_new" end
  if json.dense_act_fn == nil then activation = config.activation({ feed_forward_proj = activation }, "feed_forward_proj") end
  return config.activation(json, "dense_act_fn", activation), config.boolean(json, "is_gated_act", gated ~= nil)
end

function t5.config(json)
  config.published(json, { pad_token_id = 0 })
  config.sizes(json, { vocab_size = 32128, d_model = 512, d_kv = 64, d_ff = 2048, num_layers = 6, num_heads = 8 })
  local activation, gated = feed_forward(json)
  config.only(json, "is_encoder_decoder", true)
  config.only(json, "is_causal", true)
  local heads, hidden = config.integer(json, "num_heads"), config.integer(json, "d_model")
  local layers = config.layers(json, "num_layers")
  local whole = config.boolean(json, "tie_word_embeddings", true)
  return {
    layers = { encoder = layers, decoder = config.layers(json, "num_decoder_layers", layers) },
    axes = { hidden = hidden, ffn = config.integer(json, "d_ff"), head = heads, kv_head = heads,
      head_dim = config.integer(json, "d_kv"), vocab = config.integer(json, "vocab_size") },
    buckets = config.integer(json, "relative_attention_num_buckets", 32),
    max_distance = config.integer(json, "relative_attention_max_distance", 128),
    norm_eps = config.epsilon(json, "layer_norm_epsilon", 1e-6),
    activation = activation, gated = gated,
    own_head = not whole,
    tied = true,   -- published code ties what is not stored, whatever the file says, which means the scale alone
    head_scale = config.boolean(json, "scale_decoder_outputs", whole) and hidden ^ -0.5 or 1,
    decoder_start = config.integer(json, "decoder_start_token_id", json.pad_token_id or 0, 0),
  }
end

local function project(layer, x, name)
  return layer:linear(x, name, { name:match "%.q$" and "head" or "kv_head", "head_dim" })
end

local function joined(layer, a, name) return layer:linear(a, name, "hidden", { over = { "head", "head_dim" } }) end

local function mlp(layer, x, path)
  local c = layer.config
  local h = layer:rms_norm(x, path .. ".layer_norm", c.norm_eps)
  path = path .. ".DenseReluDense."
  if c.gated then
    h = layer:activation(layer:linear(h, path .. "wi_0", "ffn"), c.activation) * layer:linear(h, path .. "wi_1", "ffn")
  else
    h = layer:activation(layer:linear(h, path .. "wi", "ffn"), c.activation)
  end
  return layer:mark(x + layer:mark("mlp", layer:linear(h, path .. "wo", "hidden")))
end

local bias_path = "block.0.layer.0.SelfAttention.relative_attention_bias"

local function embedded(net, side, batch)
  local own = side:has "embed_tokens.weight"   -- the same elements where they are tied
  return (own and side or net):embedding(batch.ids, own and "embed_tokens" or "shared")
end

function t5.encode(net, batch)
  local c = net.config
  local side = net:scope("encoder", "encoder")
  local x = side:mark("embeddings", embedded(net, side, batch))
  local bias = side:relative_bias(bias_path, { buckets = c.buckets, max_distance = c.max_distance, bidirectional = true })
  for i = 0, c.layers.encoder - 1 do
    local layer = side:scope("block." .. i, "layers." .. i)
    local h = layer:rms_norm(x, "layer.0.layer_norm", c.norm_eps)
    local q, k, v = project(layer, h, "layer.0.SelfAttention.q"), project(layer, h, "layer.0.SelfAttention.k"),
      project(layer, h, "layer.0.SelfAttention.v")
    local a = layer:attention(q, layer:uncached(k, v), { mask = "none", scale = 1, bias = bias })
    x = mlp(layer, x + layer:mark("attention", joined(layer, a, "layer.0.SelfAttention.o")), "layer.1")
  end
  return side:mark("norm", side:rms_norm(x, "final_layer_norm", c.norm_eps))
end

function t5.cross(net, encoded)
  local side = net:scope("decoder", "decoder")
  for i = 0, net.config.layers.decoder - 1 do
    local layer = side:scope("block." .. i, "layers." .. i)
    layer:cached(project(layer, encoded, "layer.1.EncDecAttention.k"), project(layer, encoded, "layer.1.EncDecAttention.v"),
      { kind = "cross" })
  end
end

function t5.decode(net, batch)
  local c = net.config
  local side = net:scope("decoder", "decoder")
  local x = side:mark("embeddings", embedded(net, side, batch))
  local bias = side:relative_bias(bias_path, { buckets = c.buckets, max_distance = c.max_distance, bidirectional = false })
  for i = 0, c.layers.decoder - 1 do
    local layer = side:scope("block." .. i, "layers." .. i)
    local h = layer:rms_norm(x, "layer.0.layer_norm", c.norm_eps)
    local q, k, v = project(layer, h, "layer.0.SelfAttention.q"), project(layer, h, "layer.0.SelfAttention.k"),
      project(layer, h, "layer.0.SelfAttention.v")
    local a = layer:attention(q, layer:cached(k, v), { mask = "causal", scale = 1, bias = bias })
    x = x + layer:mark("attention", joined(layer, a, "layer.0.SelfAttention.o"))
    h = layer:rms_norm(x, "layer.1.layer_norm", c.norm_eps)
    a = layer:attention(project(layer, h, "layer.1.EncDecAttention.q"), layer:cross(), { mask = "none", scale = 1, name = "cross_attention" })
    x = mlp(layer, x + layer:mark("cross_attention", joined(layer, a, "layer.1.EncDecAttention.o")), "layer.2")
  end
  return side:mark("norm", side:rms_norm(x, "final_layer_norm", c.norm_eps))
end

t5.heads = {
  base = function(_, x) return { last_hidden_state = x } end,
  seq2seq = function(net, x)   -- a stored head is used, whatever the config says of tying
    local c = net.config
    local tied = c.tied and not net:has "lm_head"
    return net:head(x, "lm_head", "vocab", { tied = tied and "shared" or nil, scale = c.head_scale })
  end,
}

local function side_tensors(tensors, short, side, mlp_layer, gated)
  local function put(name, module) tensors[short .. ".blk.*." .. name] = side .. ".block.*." .. module end
  local function attention_tensors(name, layer, module)
    for _, part in ipairs { "q", "k", "v", "o" } do put(name .. "_" .. part, layer .. "." .. module .. "." .. part) end
    put(name .. "_norm", layer .. ".layer_norm")
    put(name .. "_rel_b", layer .. "." .. module .. ".relative_attention_bias")
  end
  attention_tensors("attn", "layer.0", "SelfAttention")
  if side == "decoder" then attention_tensors("cross_attn", "layer.1", "EncDecAttention") end
  put("ffn_norm", mlp_layer .. ".layer_norm")
  put("ffn_gate", mlp_layer .. ".DenseReluDense.wi_0")
  put("ffn_up", mlp_layer .. ".DenseReluDense." .. (gated and "wi_1" or "wi"))
  put("ffn_down", mlp_layer .. ".DenseReluDense.wo")
  tensors[short .. ".output_norm"] = side .. ".final_layer_norm"
end

t5.gguf = {
  metadata = { d_model = "t5.embedding_length", d_ff = "t5.feed_forward_length", num_layers = "t5.block_count",
    num_decoder_layers = "t5.decoder_block_count", num_heads = "t5.attention.head_count", d_kv = "t5.attention.key_length",
    layer_norm_epsilon = "t5.attention.layer_norm_rms_epsilon", n_positions = "t5.context_length",
    relative_attention_num_buckets = "t5.attention.relative_buckets_count", decoder_start_token_id = "t5.decoder_start_token_id" },
  tensors = function(c)
    local tensors = { token_embd = "shared", output = "lm_head" }
    side_tensors(tensors, "enc", "encoder", "layer.1", c.gated)
    side_tensors(tensors, "dec", "decoder", "layer.2", c.gated)
    return tensors
  end,
  complete = function(json, head) json.feed_forward_proj = head.sizes["enc.blk.0.ffn_gate.weight"] and "gated-gelu" or "relu" end,
}

return t5
