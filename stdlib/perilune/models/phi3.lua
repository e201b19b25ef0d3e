-- Phi-3, 3.5 and 4-mini: Llama stored with one product for query, key and value and one for both halves
-- of the gated feed-forward; a part of each head may turn.
local config = require "perilune.families.config"
local gguf_names = require "perilune.families.gguf_names"
local llama = require "perilune.models.llama"
local rope = require "perilune.families.rope"

local phi3 = {
  name = "phi3",
  model_types = { "phi3" },
  architectures = { Phi3ForCausalLM = "causal", Phi3Model = "base" },
  padding = "left",
  tokenizers = { "sentencepiece", "bpe", "tiktoken" },
  embedding = llama.embedding,
  ties = llama.ties,
  prefixes = llama.prefixes,
  unused = llama.unused,
  keys = config.decoder_keys { "sliding_window", "layer_types", "attention_bias" },
  decode = llama.decode,
  heads = llama.heads,
}

-- Rope types of this family; an old file's "yarn" means longrope.
local function name_rope(json)
  local parameters = rope.parameters(json)
  local kind = parameters.rope_type or parameters.type
  if kind == "yarn" then parameters.rope_type = "longrope" end
  config.only({ ["rope type"] = kind }, "rope type", "default", "longrope", "su", "yarn")
end

function phi3.config(json)
  config.only(json, "attention_bias", false)
  config.decoder_sizes(json, 32064, 3072, 8192, 32, 32)
  config.published(json, { original_max_position_embeddings = 4096, max_position_embeddings = 4096, rms_norm_eps = 1e-5 })
  name_rope(json)
  local c = config.decoder(json, 1)
  c.windows = config.one_window(json, c.layers)
  return c
end

function phi3.weights()
  return {
    ["layers.*.self_attn.qkv_proj"] = { rename = "layers.*.self_attn",
      split = { { "q_proj", "head", "head_dim" }, { "k_proj", "kv_head", "head_dim" }, { "v_proj", "kv_head", "head_dim" } } },
    ["layers.*.mlp.gate_up_proj"] = { rename = "layers.*.mlp", split = { "gate_proj", "up_proj" } },
  }
end

phi3.gguf = {
  metadata = gguf_names.metadata("phi3", { sliding_window = "attention.sliding_window",
    original_max_position_embeddings = "rope.scaling.original_context_length" }),
  tensors = gguf_names.tensors { attn_qkv = "self_attn.qkv_proj", ffn_up = "mlp.gate_up_proj" },
  views = phi3.weights,
}

return phi3
