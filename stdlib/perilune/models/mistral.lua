-- Mistral: Llama whose layers see the last positions only, where the file names a window.
local config = require "perilune.families.config"
local gguf_names = require "perilune.families.gguf_names"
local llama = require "perilune.models.llama"

local mistral = {
  name = "mistral",
  model_types = { "mistral" },
  architectures = { MistralForCausalLM = "causal", MistralModel = "base" },
  padding = "left",
  tokenizers = { "sentencepiece", "bpe", "tiktoken" },
  embedding = llama.embedding,
  ties = llama.ties,
  prefixes = llama.prefixes,
  unused = llama.unused,
  keys = config.decoder_keys { "sliding_window", "layer_types" },
  decode = llama.decode,
  heads = llama.heads,
  -- Files of Mistral models say "llama"; one that names a window is read here.
  gguf = { metadata = gguf_names.metadata("llama", { sliding_window = "attention.sliding_window" }),
    tensors = llama.gguf.tensors, permute = llama.gguf.permute },
}

function mistral.config(json)
  config.published(json, { num_key_value_heads = 8, sliding_window = 4096, max_position_embeddings = 131072 })
  config.decoder_sizes(json, 32000, 4096, 14336, 32, 32)
  local c = config.decoder(json)
  c.windows = config.one_window(json, c.layers)
  return c
end

return mistral
