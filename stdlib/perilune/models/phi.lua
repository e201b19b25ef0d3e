-- Phi-1, 1.5 and 2: attention and feed-forward side by side after one layer norm, biases everywhere, a
-- part of each head turns.
local raise = require "perilune.base.raise"
local config = require "perilune.families.config"

local phi = {
  name = "phi",
  model_types = { "phi" },
  architectures = { PhiForCausalLM = "causal", PhiModel = "base" },
  padding = "left",
  tokenizers = { "bpe" },
  embedding = "embed_tokens",
  ties = { { "embed_tokens.weight", "lm_head.weight" } },
  prefixes = { "model." },
  unused = { "*.rotary_emb.inv_freq" },
  keys = { "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "hidden_act", "max_position_embeddings", "original_max_position_embeddings", "layer_norm_eps", "rope_theta",
    "rope_scaling", "rope_parameters", "partial_rotary_factor", "qk_layernorm", "tie_word_embeddings", "vocab_size",
    "head_dim", "is_causal", "is_decoder", "is_encoder_decoder" },
}

function phi.config(json)
  config.decoder_sizes(json, 51200, 2048, 8192, 24, 32)
  local c = config.decoder(json, 0.5)
  if c.rope.factors then
    raise("unsupported", "load", "config.json: rope type proportional for a share of each head: models of this family turn that share alone")
  end
  c.norm_eps = config.epsilon(json, "layer_norm_eps", 1e-5)
  c.activation = config.activation(json, "hidden_act", "gelu_new")
  c.qk_norm = config.boolean(json, "qk_layernorm", false)
  return c
end

local function attention(layer, h, batch)
  local c = layer.config
  local q = layer:linear(h, "self_attn.q_proj", { "head", "head_dim" }, { bias = true })
  local k = layer:linear(h, "self_attn.k_proj", { "kv_head", "head_dim" }, { bias = true })
  local v = layer:linear(h, "self_attn.v_proj", { "kv_head", "head_dim" }, { bias = true })
  if c.qk_norm then
    q, k = layer:layer_norm(q, "self_attn.q_layernorm", c.norm_eps), layer:layer_norm(k, "self_attn.k_layernorm", c.norm_eps)
  end
  q, k = layer:rope(q, batch.positions, c.rope), layer:rope(k, batch.positions, c.rope)
  local a = layer:attention(q, layer:cached(k, v), { mask = "causal" })
  return layer:mark("attention", layer:linear(a, "self_attn.dense", "hidden", { over = { "head", "head_dim" }, bias = true }))
end

function phi.decode(net, batch)
  local c = net.config
  local x = net:mark("embeddings", net:embedding(batch.ids, "embed_tokens"))
  for i = 0, c.layers - 1 do
    local layer = net:scope("layers." .. i, "layers." .. i)
    local h = layer:layer_norm(x, "input_layernorm", c.norm_eps)
    local a = attention(layer, h, batch)
    h = layer:activation(layer:linear(h, "mlp.fc1", "ffn", { bias = true }), c.activation)
    x = layer:mark(a + layer:mark("mlp", layer:linear(h, "mlp.fc2", "hidden", { bias = true })) + x)
  end
  return net:mark("norm", net:layer_norm(x, "final_layernorm", c.norm_eps))
end

phi.heads = {
  base = function(_, x) return { last_hidden_state = x } end,
  causal = function(net, x)   -- a stored head is used, whatever the config says of tying
    local tied = net.config.tied and not net:has "lm_head.weight"
    return net:head(x, "lm_head", "vocab", { tied = tied and "embed_tokens" or nil, bias = net:has "lm_head.bias" })
  end,
}

return phi
