-- Whisper: an encoder-decoder that reads log-mel frames, 100 a second, through two convolutions, of which the
-- second halves them. Norms come before each part; keys have no bias.
local config = require "perilune.families.config"

local whisper = {
  name = "whisper",
  model_types = { "whisper" },
  architectures = { WhisperForConditionalGeneration = "seq2seq", WhisperModel = "base" },
  padding = "right",
  tokenizers = { "bpe", "tiktoken" },
  embedding = "decoder.embed_tokens",
  ties = { { "decoder.embed_tokens.weight", "proj_out.weight" } },
  prefixes = { "model." },
  unused = { "proj_out.weight" },
  keys = { "vocab_size", "num_mel_bins", "d_model", "encoder_layers", "decoder_layers", "encoder_attention_heads", "decoder_attention_heads",
    "encoder_ffn_dim", "decoder_ffn_dim", "encoder_layerdrop", "decoder_layerdrop", "activation_function", "max_source_positions",
    "max_target_positions", "scale_embedding", "tie_word_embeddings", "decoder_start_token_id", "is_encoder_decoder", "init_std",
    "median_filter_width", "classifier_proj_size", "use_weighted_layer_sum", "num_hidden_layers", "apply_spec_augment", "mask_time_prob",
    "mask_time_length", "mask_time_min_masks", "mask_feature_prob", "mask_feature_length", "mask_feature_min_masks" },
}

local function decoder_axes(json, hidden)
  local heads = config.integer(json, "decoder_attention_heads")
  return { ffn = config.integer(json, "decoder_ffn_dim"), head = heads, kv_head = heads,
    head_dim = config.head_dim(hidden, heads, "d_model", "decoder_attention_heads") }
end

function whisper.config(json)
  config.sizes(json, { vocab_size = 51865, d_model = 384, encoder_layers = 4, decoder_layers = 4, encoder_attention_heads = 6,
    decoder_attention_heads = 6, encoder_ffn_dim = 1536, decoder_ffn_dim = 1536 })
  local hidden = config.integer(json, "d_model")
  local heads = config.integer(json, "encoder_attention_heads")
  config.only(json, "is_encoder_decoder", true)
  config.only(json, "use_weighted_layer_sum", false)
  local frames = config.integer(json, "max_source_positions", 1500)
  local positions = config.integer(json, "max_target_positions", 448)
  return {
    layers = { encoder = config.layers(json, "encoder_layers"), decoder = config.layers(json, "decoder_layers") },
    axes = { mel = config.integer(json, "num_mel_bins", 80), hidden = hidden, ffn = config.integer(json, "encoder_ffn_dim"), head = heads,
      kv_head = heads, head_dim = config.head_dim(hidden, heads, "d_model", "encoder_attention_heads"),
      vocab = config.integer(json, "vocab_size") },
    decoder_axes = decoder_axes(json, hidden),
    tied = config.boolean(json, "tie_word_embeddings", true),
    max_tokens = positions, max_source = 2 * frames,
    rows = { ["encoder.embed_positions"] = { "max_source_positions", frames }, ["decoder.embed_positions"] = { "max_target_positions", positions } },
    norm_eps = 1e-5,   -- not in the file: the published code's
    activation = config.activation(json, "activation_function", "gelu"),
    decoder_start = config.integer(json, "decoder_start_token_id", 50257, 0),
    eos = type(json.eos_token_id) == "number" and json.eos_token_id or 50256,
  }
end

local function decoder_of(net) return net:scope("decoder", "decoder", { axes = net.config.decoder_axes }) end

local function project(layer, x, path, axis) return layer:linear(x, path, { axis, "head_dim" }, { bias = axis == "head" or path:find "v_proj" ~= nil }) end

local function joined(layer, a, path) return layer:linear(a, path, "hidden", { over = { "head", "head_dim" }, bias = true }) end

-- Queries, and keys with values, of one attention.
local function keys_and_values(layer, x, path)
  return project(layer, x, path .. ".k_proj", "kv_head"), project(layer, x, path .. ".v_proj", "kv_head")
end

local function feed_forward(layer, x)
  local c = layer.config
  local h = layer:layer_norm(x, "final_layer_norm", c.norm_eps)
  h = layer:activation(layer:linear(h, "fc1", "ffn", { bias = true }), c.activation)
  return layer:mark(x + layer:mark("mlp", layer:linear(h, "fc2", "hidden", { bias = true })))
end

function whisper.encode(net, batch)
  local c = net.config
  local side = net:scope("encoder", "encoder")
  local x = side:activation(side:conv1d(batch.features, "conv1", "hidden", { padding = 1, bias = true }), "gelu")   -- whatever the layers have
  x = side:activation(side:conv1d(x, "conv2", "hidden", { stride = 2, padding = 1, bias = true }), "gelu")
  x = side:mark("embeddings", x + side:embedding(side:positions(x), "embed_positions"))
  for i = 0, c.layers.encoder - 1 do
    local layer = side:scope("layers." .. i, "layers." .. i)
    local h = layer:layer_norm(x, "self_attn_layer_norm", c.norm_eps)
    local q, k, v = project(layer, h, "self_attn.q_proj", "head"), keys_and_values(layer, h, "self_attn")
    local a = layer:attention(q, layer:uncached(k, v), { mask = "none" })
    x = feed_forward(layer, x + layer:mark("attention", joined(layer, a, "self_attn.out_proj")))
  end
  return side:mark("norm", side:layer_norm(x, "layer_norm", c.norm_eps))
end

function whisper.cross(net, encoded)
  local side = decoder_of(net)
  for i = 0, net.config.layers.decoder - 1 do
    local layer = side:scope("layers." .. i, "layers." .. i)
    local k, v = keys_and_values(layer, encoded, "encoder_attn")
    layer:cached(k, v, { kind = "cross" })
  end
end

function whisper.decode(net, batch)
  local c = net.config
  local side = decoder_of(net)
  local x = side:embedding(batch.ids, "embed_tokens") + side:embedding(batch.positions, "embed_positions")
  x = side:mark("embeddings", x)
  for i = 0, c.layers.decoder - 1 do
    local layer = side:scope("layers." .. i, "layers." .. i)
    local h = layer:layer_norm(x, "self_attn_layer_norm", c.norm_eps)
    local q, k, v = project(layer, h, "self_attn.q_proj", "head"), keys_and_values(layer, h, "self_attn")
    local a = layer:attention(q, layer:cached(k, v), { mask = "causal" })
    x = x + layer:mark("attention", joined(layer, a, "self_attn.out_proj"))
    h = layer:layer_norm(x, "encoder_attn_layer_norm", c.norm_eps)
    a = layer:attention(project(layer, h, "encoder_attn.q_proj", "head"), layer:cross(), { mask = "none", name = "cross_attention" })
    x = feed_forward(layer, x + layer:mark("cross_attention", joined(layer, a, "encoder_attn.out_proj")))
  end
  return side:mark("norm", side:layer_norm(x, "layer_norm", c.norm_eps))
end

whisper.heads = {
  base = function(_, x) return { last_hidden_state = x } end,
  seq2seq = function(net, x) return net:head(x, "proj_out", "vocab", { tied = net.config.tied and "decoder.embed_tokens" or nil }) end,
}

return whisper
