-- Llama: RMS norm, rotary positions, grouped heads, a gated feed-forward. Also what publishes itself
-- under its name (TinyLlama, SmolLM2, …).
local config = require "perilune.config"
local rope = require "perilune.rope"
local raise = require "perilune.raise"

local llama = {
  name = "llama",
  model_types = { "llama" },
  architectures = { LlamaForCausalLM = "causal", LlamaModel = "base" },
  padding = "left",
  tokenizers = { "sentencepiece", "bpe", "unigram" },
  embedding = "embed_tokens",
  prefixes = { "model." },
  unused = { "*.rotary_emb.inv_freq" },
  keys = { "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "head_dim", "hidden_act", "max_position_embeddings", "original_max_position_embeddings", "rms_norm_eps",
    "rope_theta", "rope_scaling", "rope_parameters", "partial_rotary_factor", "attention_bias", "mlp_bias",
    "tie_word_embeddings", "vocab_size", "pretraining_tp", "is_causal", "is_decoder", "is_encoder_decoder", "rope_interleaved" },
}

function llama.config(json)
  local hidden = config.integer(json, "hidden_size")
  local heads = config.integer(json, "num_attention_heads")
  local kv_heads = config.integer(json, "num_key_value_heads", heads)
  if heads % kv_heads ~= 0 then
    raise("shape", "load", ("config.json: num_attention_heads %d is not a multiple of num_key_value_heads %d"):format(heads, kv_heads))
  end
  local head_dim = json.head_dim and config.integer(json, "head_dim")
    or config.head_dim(hidden, heads, "hidden_size", "num_attention_heads")
  config.only(json, "is_encoder_decoder", false)
  config.only(json, "rope_interleaved", false)
  config.only(json, "is_causal", true)
  config.integer(json, "pretraining_tp", 1)   -- how the published code slices its products: same values
  local turned = rope.rope_options(json, head_dim)
  if turned.dims ~= head_dim then
    raise("unsupported", "load", "config.json: partial_rotary_factor is not supported: models of this family turn whole heads")
  end
  return {
    layers = config.layers(json, "num_hidden_layers"),
    axes = { hidden = hidden, ffn = config.integer(json, "intermediate_size"), head = heads, kv_head = kv_heads,
      head_dim = head_dim, vocab = config.integer(json, "vocab_size") },
    max_tokens = rope.rope_positions(config.integer(json, "max_position_embeddings", 2048), turned),
    norm_eps = config.epsilon(json, "rms_norm_eps", 1e-6),
    activation = config.activation(json, "hidden_act", "silu"),
    attention_bias = config.boolean(json, "attention_bias", false),
    mlp_bias = config.boolean(json, "mlp_bias", false),
    tied = config.boolean(json, "tie_word_embeddings", false),
    rope = turned,
  }
end

function llama.decode(net, batch)
  local c = net.config
  local x = net:mark("embeddings", net:embedding(batch.ids, "embed_tokens"))
  for i = 0, c.layers - 1 do
    local layer = net:scope("layers." .. i, "layers." .. i)   -- checkpoint path, canonical path
    local h = layer:rms_norm(x, "input_layernorm", c.norm_eps)
    local q = layer:rope(layer:linear(h, "self_attn.q_proj", { "head", "head_dim" }, { bias = c.attention_bias }), batch.positions, c.rope)
    local k = layer:rope(layer:linear(h, "self_attn.k_proj", { "kv_head", "head_dim" }, { bias = c.attention_bias }), batch.positions, c.rope)
    local v = layer:linear(h, "self_attn.v_proj", { "kv_head", "head_dim" }, { bias = c.attention_bias })
    local a = layer:attention(q, layer:cached(k, v), { mask = "causal" })
    x = x + layer:mark("attention", layer:linear(a, "self_attn.o_proj", "hidden", { over = { "head", "head_dim" }, bias = c.attention_bias }))
    h = layer:rms_norm(x, "post_attention_layernorm", c.norm_eps)
    local gated = layer:activation(layer:linear(h, "mlp.gate_proj", "ffn", { bias = c.mlp_bias }), c.activation)
      * layer:linear(h, "mlp.up_proj", "ffn", { bias = c.mlp_bias })
    x = layer:mark(x + layer:mark("mlp", layer:linear(gated, "mlp.down_proj", "hidden", { bias = c.mlp_bias })))
  end
  return net:mark("norm", net:rms_norm(x, "norm", c.norm_eps))
end

llama.heads = {
  base = function(_, x) return { last_hidden_state = x } end,
  causal = function(net, x)   -- a stored head is used, whatever the config says of tying
    local tied = net.config.tied and not net:has "lm_head"
    return net:head(x, "lm_head", "vocab", { tied = tied and "embed_tokens" or nil })
  end,
}

return llama
