-- Qwen2 and 2.5: Llama with biases on query, key and value; later layers may see a window only.
local config = require "perilune.families.config"
local gguf_names = require "perilune.families.gguf_names"
local llama = require "perilune.models.llama"

local qwen2 = {
  name = "qwen2",
  model_types = { "qwen2" },
  architectures = { Qwen2ForCausalLM = "causal", Qwen2Model = "base" },
  padding = "left",
  tokenizers = { "bpe", "tiktoken" },
  embedding = llama.embedding,
  ties = llama.ties,
  prefixes = llama.prefixes,
  unused = llama.unused,
  keys = config.decoder_keys { "use_sliding_window", "sliding_window", "max_window_layers", "layer_types", "use_mrope" },
  decode = llama.decode,
  heads = llama.heads,
  gguf = { metadata = gguf_names.metadata "qwen2", tensors = llama.gguf.tensors },
}

function qwen2.config(json)
  config.decoder_sizes(json, 151936, 4096, 22016, 32, 32)
  config.published(json, { num_key_value_heads = 32, sliding_window = 4096, max_position_embeddings = 32768 })
  local c = config.decoder(json)
  config.only(json, "use_mrope", false)
  c.qkv_bias = true
  c.windows = config.late_windows(json, c.layers)
  return c
end

return qwen2
