-- Llama: RMS norm, rotary positions, grouped heads, a gated feed-forward. Also what publishes itself
-- under its name (TinyLlama, SmolLM2, …).
local config = require "perilune.families.config"
local gguf_names = require "perilune.families.gguf_names"

local llama = {
  name = "llama",
  model_types = { "llama" },
  architectures = { LlamaForCausalLM = "causal", LlamaModel = "base" },
  padding = "left",
  tokenizers = { "sentencepiece", "bpe", "tiktoken", "unigram" },
  embedding = "embed_tokens",
  ties = { { "embed_tokens.weight", "lm_head.weight" } },
  prefixes = { "model." },
  unused = { "*.rotary_emb.inv_freq" },
  keys = config.decoder_keys { "attention_bias", "mlp_bias", "pretraining_tp" },
}

function llama.config(json)
  config.decoder_sizes(json, 32000, 4096, 11008, 32, 32)
  local c = config.decoder(json)
  config.integer(json, "pretraining_tp", 1)   -- how the published code slices its products: same values
  c.qkv_bias = config.boolean(json, "attention_bias", false)
  c.output_bias = c.qkv_bias
  c.mlp_bias = config.boolean(json, "mlp_bias", false)
  return c
end

-- Queries and keys are stored for rotary pairs that lie side by side.
llama.gguf = {
  metadata = gguf_names.metadata "llama", tensors = gguf_names.tensors(), permute = { q_proj = "head", k_proj = "kv_head" },
}

local function attention(layer, h, batch, window)
  local c = layer.config
  local q = layer:linear(h, "self_attn.q_proj", { "head", "head_dim" }, { bias = c.qkv_bias })
  local k = layer:linear(h, "self_attn.k_proj", { "kv_head", "head_dim" }, { bias = c.qkv_bias })
  local v = layer:linear(h, "self_attn.v_proj", { "kv_head", "head_dim" }, { bias = c.qkv_bias })
  if c.qk_norm then
    q, k = layer:rms_norm(q, "self_attn.q_norm", c.norm_eps), layer:rms_norm(k, "self_attn.k_norm", c.norm_eps)
  end
  q, k = layer:rope(q, batch.positions, c.rope), layer:rope(k, batch.positions, c.rope)
  local a = layer:attention(q, layer:cached(k, v, { window = window }), { mask = "causal" })
  return layer:mark("attention", layer:linear(a, "self_attn.o_proj", "hidden", { over = { "head", "head_dim" }, bias = c.output_bias }))
end

function llama.decode(net, batch)
  local c = net.config
  local x = net:mark("embeddings", net:embedding(batch.ids, "embed_tokens"))
  for i = 0, c.layers - 1 do
    local layer = net:scope("layers." .. i, "layers." .. i)   -- checkpoint path, canonical path
    x = x + attention(layer, layer:rms_norm(x, "input_layernorm", c.norm_eps), batch, c.windows[i])
    local h = layer:rms_norm(x, "post_attention_layernorm", c.norm_eps)
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
