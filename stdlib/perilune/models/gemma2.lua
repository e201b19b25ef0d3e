-- Gemma 2: four norms a layer whose weights are stored less one, scores and logits bent by tanh, every
-- other layer sees a window only.
local config = require "perilune.families.config"
local gguf_names = require "perilune.families.gguf_names"
local llama = require "perilune.models.llama"

local gemma2 = {
  name = "gemma2",
  model_types = { "gemma2" },
  architectures = { Gemma2ForCausalLM = "causal", Gemma2Model = "base" },
  padding = "left",
  tokenizers = { "sentencepiece", "bpe" },
  embedding = llama.embedding,
  ties = llama.ties,
  prefixes = llama.prefixes,
  unused = llama.unused,
  keys = config.decoder_keys { "hidden_activation", "attention_bias", "attn_logit_softcapping", "final_logit_softcapping",
    "query_pre_attn_scalar", "sliding_window", "layer_types", "use_bidirectional_attention", "cache_implementation", "sliding_window_size" },
}

local function cap(json, key) return json[key] ~= nil and config.positive(json, key) or nil end

function gemma2.config(json)
  config.only(json, "use_bidirectional_attention", false)
  config.decoder_sizes(json, 256000, 2304, 9216, 26, 8)
  config.published(json, { attn_logit_softcapping = 50, final_logit_softcapping = 30, num_key_value_heads = 4,
    max_position_embeddings = 8192 })
  if json.head_dim == nil then json.head_dim = 256 end
  if json.sliding_window == nil then json.sliding_window = 4096 end
  local c = config.decoder(json)
  c.activation = config.activation(json, "hidden_activation", "gelu_pytorch_tanh")   -- hidden_act is not read
  c.tied = config.boolean(json, "tie_word_embeddings", true)
  c.qkv_bias = config.boolean(json, "attention_bias", false)
  c.score_scale = config.positive(json, "query_pre_attn_scalar", 256) ^ -0.5
  c.score_cap = cap(json, "attn_logit_softcapping")
  c.logit_cap = cap(json, "final_logit_softcapping")
  c.windows = config.windows(json, c.layers, function(i) return i % 2 == 0 end)
  return c
end

local function attention(layer, h, batch, window)
  local c = layer.config
  local q = layer:linear(h, "self_attn.q_proj", { "head", "head_dim" }, { bias = c.qkv_bias })
  local k = layer:linear(h, "self_attn.k_proj", { "kv_head", "head_dim" }, { bias = c.qkv_bias })
  local v = layer:linear(h, "self_attn.v_proj", { "kv_head", "head_dim" }, { bias = c.qkv_bias })
  q, k = layer:rope(q, batch.positions, c.rope), layer:rope(k, batch.positions, c.rope)
  local a = layer:attention(q, layer:cached(k, v, { window = window }), { mask = "causal", scale = c.score_scale, softcap = c.score_cap })
  return layer:linear(a, "self_attn.o_proj", "hidden", { over = { "head", "head_dim" }, bias = c.qkv_bias })
end

function gemma2.decode(net, batch)
  local c = net.config
  local function norm(scope, x, path) return scope:rms_norm(x, path, c.norm_eps, { plus_one = true }) end
  local x = net:mark("embeddings", net:embedding(batch.ids, "embed_tokens", { scale = c.axes.hidden ^ 0.5 }))
  for i = 0, c.layers - 1 do
    local layer = net:scope("layers." .. i, "layers." .. i)
    local a = attention(layer, norm(layer, x, "input_layernorm"), batch, c.windows[i])
    x = x + layer:mark("attention", norm(layer, a, "post_attention_layernorm"))
    local h = norm(layer, x, "pre_feedforward_layernorm")
    h = layer:activation(layer:linear(h, "mlp.gate_proj", "ffn"), c.activation) * layer:linear(h, "mlp.up_proj", "ffn")
    h = norm(layer, layer:linear(h, "mlp.down_proj", "hidden"), "post_feedforward_layernorm")
    x = layer:mark(x + layer:mark("mlp", h))
  end
  return net:mark("norm", norm(net, x, "norm"))
end

gemma2.heads = {
  base = llama.heads.base,
  causal = function(net, x)
    local logits = llama.heads.causal(net, x)
    return net.config.logit_cap and net:softcap(logits, net.config.logit_cap) or logits
  end,
}

gemma2.gguf = {
  metadata = gguf_names.metadata("gemma2", { attn_logit_softcapping = "attn_logit_softcapping",
    final_logit_softcapping = "final_logit_softcapping", sliding_window = "attention.sliding_window" }),
  tensors = gguf_names.tensors { post_attention_norm = "post_attention_layernorm", ffn_norm = "pre_feedforward_layernorm",
    post_ffw_norm = "post_feedforward_layernorm" },
  add = { ["*norm"] = -1 },
  -- The scale of the scores is not in the files: of the published models only the largest has another.
  complete = function(json)
    local largest = json.num_hidden_layers == 46 and json.hidden_size and json.num_attention_heads
    json.query_pre_attn_scalar = largest and json.hidden_size / json.num_attention_heads or json.head_dim
  end,
}

return gemma2
