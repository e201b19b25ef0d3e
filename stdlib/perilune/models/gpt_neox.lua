-- GPT-NeoX and Pythia: layer norms, one product for query, key and value stored head by head, a part of
-- each head turns; attention and feed-forward side by side or one after the other.
local config = require "perilune.families.config"
local rope = require "perilune.families.rope"

local gpt_neox = {
  name = "gpt_neox",
  model_types = { "gpt_neox" },
  architectures = { GPTNeoXForCausalLM = "causal", GPTNeoXModel = "base" },
  padding = "left",
  tokenizers = { "bpe" },
  embedding = "embed_in",
  ties = { { "embed_in.weight", "lm_head.weight" } },
  prefixes = { "gpt_neox." },
  unused = { "layers.*.attention.bias", "layers.*.attention.masked_bias", "*.rotary_emb.inv_freq" },
  keys = { "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act",
    "max_position_embeddings", "layer_norm_eps", "rotary_pct", "rotary_emb_base", "rope_scaling",
    "rope_parameters", "use_parallel_residual", "attention_bias", "tie_word_embeddings",
    "vocab_size", "is_causal", "is_decoder", "is_encoder_decoder" },
}

-- What the rotary options are read from: this family's own names. The common ones that some files carry
-- beside them are not read; a warning says so where they differ.
local function rotary(json)
  if json.rope_theta == (json.rotary_emb_base or 10000) then json.rope_theta = nil end
  if json.partial_rotary_factor == (json.rotary_pct or 0.25) then json.partial_rotary_factor = nil end
  local values = {}
  for key, value in pairs(json) do values[key] = value end
  values.rope_theta, values.partial_rotary_factor = nil, nil
  return values
end

function gpt_neox.config(json)
  config.decoder_sizes(json, 50432, 6144, 24576, 44, 64)
  local hidden, heads = config.integer(json, "hidden_size"), config.integer(json, "num_attention_heads")
  config.decoder_only(json)
  local head_dim = config.head_dim(hidden, heads, "hidden_size", "num_attention_heads")
  local turned = rope.rope_options(rotary(json), head_dim, 0.25, true)
  return {
    layers = config.layers(json, "num_hidden_layers"),
    axes = { hidden = hidden, ffn = config.integer(json, "intermediate_size"), head = heads, kv_head = heads,
      head_dim = head_dim, vocab = config.integer(json, "vocab_size") },
    max_tokens = rope.rope_positions(config.integer(json, "max_position_embeddings", 2048), turned),
    norm_eps = config.epsilon(json, "layer_norm_eps", 1e-5),
    activation = config.activation(json, "hidden_act", "gelu"),
    bias = config.boolean(json, "attention_bias", true),
    parallel = config.boolean(json, "use_parallel_residual", true),
    tied = config.boolean(json, "tie_word_embeddings", false),
    rope = turned,
  }
end

function gpt_neox.weights()
  return {
    ["layers.*.attention.query_key_value"] = { split = { "q", "k", "v" }, per = "head" },
    ["embed_out"] = { rename = "lm_head" },
  }
end

local function attention(layer, x, batch)
  local c = layer.config
  local h = layer:layer_norm(x, "input_layernorm", c.norm_eps)
  local q = layer:linear(h, "attention.query_key_value.q", { "head", "head_dim" }, { bias = c.bias })
  local k = layer:linear(h, "attention.query_key_value.k", { "kv_head", "head_dim" }, { bias = c.bias })
  local v = layer:linear(h, "attention.query_key_value.v", { "kv_head", "head_dim" }, { bias = c.bias })
  q, k = layer:rope(q, batch.positions, c.rope), layer:rope(k, batch.positions, c.rope)
  local a = layer:attention(q, layer:cached(k, v), { mask = "causal" })
  return layer:mark("attention", layer:linear(a, "attention.dense", "hidden", { over = { "head", "head_dim" }, bias = c.bias }))
end

local function feed_forward(layer, x)
  local c = layer.config
  local h = layer:layer_norm(x, "post_attention_layernorm", c.norm_eps)
  h = layer:activation(layer:linear(h, "mlp.dense_h_to_4h", "ffn", { bias = true }), c.activation)
  return layer:mark("mlp", layer:linear(h, "mlp.dense_4h_to_h", "hidden", { bias = true }))
end

function gpt_neox.decode(net, batch)
  local c = net.config
  local x = net:mark("embeddings", net:embedding(batch.ids, "embed_in"))
  for i = 0, c.layers - 1 do
    local layer = net:scope("layers." .. i, "layers." .. i)
    local a = attention(layer, x, batch)
    if c.parallel then
      x = layer:mark(feed_forward(layer, x) + a + x)
    else
      a = a + x
      x = layer:mark(feed_forward(layer, a) + a)
    end
  end
  return net:mark("norm", net:layer_norm(x, "final_layer_norm", c.norm_eps))
end

gpt_neox.heads = {
  base = function(_, x) return { last_hidden_state = x } end,
  causal = function(net, x)   -- a stored head is used, whatever the config says of tying
    local tied = net.config.tied and not net:has "lm_head"
    return net:head(x, "lm_head", "vocab", { tied = tied and "embed_in" or nil })
  end,
}

return gpt_neox
