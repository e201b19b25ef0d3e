-- GPT-2: learned positions, layer norm before each half, one product for query, key and value whose
-- weights are stored [in, out].
local config = require "perilune.families.config"

local gpt2 = {
  name = "gpt2",
  model_types = { "gpt2" },
  architectures = { GPT2LMHeadModel = "causal", GPT2Model = "base" },
  padding = "left",
  tokenizers = { "bpe" },
  embedding = "wte",
  ties = { { "wte.weight", "lm_head.weight" } },
  prefixes = { "transformer." },
  unused = { "h.*.attn.bias", "h.*.attn.masked_bias" },   -- the causal mask, stored by old versions
  keys = { "vocab_size", "n_positions", "n_ctx", "n_embd", "n_layer", "n_head", "n_inner", "activation_function",
    "layer_norm_epsilon", "scale_attn_weights", "scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn",
    "tie_word_embeddings", "add_cross_attention", "is_causal", "is_decoder", "is_encoder_decoder" },
}

local other_names = { hidden_size = "n_embd", num_hidden_layers = "n_layer", num_attention_heads = "n_head", max_position_embeddings = "n_positions" }
for name in pairs(other_names) do gpt2.keys[#gpt2.keys + 1] = name end

function gpt2.config(json)
  config.aliases(json, other_names)
  config.sizes(json, { vocab_size = 50257, n_embd = 768, n_layer = 12, n_head = 12, n_positions = 1024 })
  local hidden, heads = config.integer(json, "n_embd"), config.integer(json, "n_head")
  config.only(json, "add_cross_attention", false)
  config.decoder_only(json)
  config.boolean(json, "reorder_and_upcast_attn", false)   -- how half precision is kept exact: f32 here anyway
  local positions = config.integer(json, "n_positions", 1024)
  return {
    layers = config.layers(json, "n_layer"),
    axes = { hidden = hidden, ffn = config.integer(json, "n_inner", 4 * hidden), head = heads, kv_head = heads,
      head_dim = config.head_dim(hidden, heads, "n_embd", "n_head"), vocab = config.integer(json, "vocab_size") },
    max_tokens = positions,
    rows = { wpe = { "n_positions", positions } },
    norm_eps = config.epsilon(json, "layer_norm_epsilon", 1e-5),
    activation = config.activation(json, "activation_function", "gelu_new"),
    scaled = config.boolean(json, "scale_attn_weights", true),
    scaled_by_layer = config.boolean(json, "scale_attn_by_inverse_layer_idx", false),
    tied = config.boolean(json, "tie_word_embeddings", true),
  }
end

function gpt2.weights()
  return {
    ["h.*.attn.c_attn"] = { transpose = true, split = { "q", "k", "v" } },
    ["h.*.attn.c_proj"] = { transpose = true },
    ["h.*.mlp.c_fc"] = { transpose = true },
    ["h.*.mlp.c_proj"] = { transpose = true },
  }
end

function gpt2.decode(net, batch)
  local c = net.config
  local x = net:mark("embeddings", net:embedding(batch.ids, "wte") + net:embedding(batch.positions, "wpe"))
  for i = 0, c.layers - 1 do
    local layer = net:scope("h." .. i, "layers." .. i)
    local h = layer:layer_norm(x, "ln_1", c.norm_eps)
    local q = layer:linear(h, "attn.c_attn.q", { "head", "head_dim" }, { bias = true })
    local k = layer:linear(h, "attn.c_attn.k", { "kv_head", "head_dim" }, { bias = true })
    local v = layer:linear(h, "attn.c_attn.v", { "kv_head", "head_dim" }, { bias = true })
    local scale = (c.scaled and 1 / math.sqrt(c.axes.head_dim) or 1) / (c.scaled_by_layer and i + 1 or 1)
    local a = layer:attention(q, layer:cached(k, v), { mask = "causal", scale = scale })
    x = x + layer:mark("attention", layer:linear(a, "attn.c_proj", "hidden", { over = { "head", "head_dim" }, bias = true }))
    h = layer:layer_norm(x, "ln_2", c.norm_eps)
    h = layer:activation(layer:linear(h, "mlp.c_fc", "ffn", { bias = true }), c.activation)
    x = layer:mark(x + layer:mark("mlp", layer:linear(h, "mlp.c_proj", "hidden", { bias = true })))
  end
  return net:mark("norm", net:layer_norm(x, "ln_f", c.norm_eps))
end

gpt2.heads = {
  base = function(_, x) return { last_hidden_state = x } end,
  causal = function(net, x)   -- a stored head is used, whatever the config says of tying
    local tied = net.config.tied and not net:has "lm_head"
    return net:head(x, "lm_head", "vocab", { tied = tied and "wte" or nil })
  end,
}

local blocks = { attn_norm = "ln_1", attn_qkv = "attn.c_attn", attn_output = "attn.c_proj", ffn_norm = "ln_2", ffn_up = "mlp.c_fc",
  ffn_down = "mlp.c_proj" }
gpt2.gguf = {
  metadata = { n_layer = "gpt2.block_count", n_embd = "gpt2.embedding_length", n_inner = "gpt2.feed_forward_length",
    n_head = "gpt2.attention.head_count", n_positions = "gpt2.context_length", layer_norm_epsilon = "gpt2.attention.layer_norm_epsilon" },
  tensors = { token_embd = "wte", position_embd = "wpe", output_norm = "ln_f", output = "lm_head" },
  views = function() return { ["h.*.attn.c_attn"] = { split = { "q", "k", "v" } } } end,   -- stored [out, in] there
}
for name, module in pairs(blocks) do gpt2.gguf.tensors["blk.*." .. name] = "h.*." .. module end

return gpt2
