-- Qwen3: Qwen2 without its biases, whose queries and keys are normalized head by head.
local config = require "perilune.families.config"
local gguf_names = require "perilune.families.gguf_names"
local llama = require "perilune.models.llama"
local qwen2 = require "perilune.models.qwen2"

local qwen3 = {
  name = "qwen3",
  model_types = { "qwen3" },
  architectures = { Qwen3ForCausalLM = "causal", Qwen3Model = "base" },
  padding = "left",
  tokenizers = qwen2.tokenizers,
  embedding = llama.embedding,
  ties = llama.ties,
  prefixes = llama.prefixes,
  unused = llama.unused,
  keys = { "attention_bias" },
  decode = llama.decode,
  heads = llama.heads,
  gguf = { metadata = gguf_names.metadata "qwen3",
    tensors = gguf_names.tensors { attn_q_norm = "self_attn.q_norm", attn_k_norm = "self_attn.k_norm" } },
}
for _, key in ipairs(qwen2.keys) do qwen3.keys[#qwen3.keys + 1] = key end

function qwen3.config(json)
  config.decoder_sizes(json, 151936, 4096, 22016, 32, 32)
  config.published(json, { num_key_value_heads = 32, sliding_window = 4096, max_position_embeddings = 32768 })
  if json.head_dim == nil then json.head_dim = 128 end   -- the published default, whatever the hidden size
  local c = config.decoder(json)
  c.qkv_bias = config.boolean(json, "attention_bias", false)
  c.output_bias = c.qkv_bias
  c.qk_norm = true
  c.windows = config.late_windows(json, c.layers)
  return c
end

return qwen3
