-- The names that GGUF files of models with layers like Llama's share.
local gguf_names = {}

--- The names of tensors; `blocks` adds to those of a layer.
---@param blocks table<string, string>|nil GGUF name → module
---@return table<string, string>
function gguf_names.tensors(blocks)
  local tensors = { token_embd = "embed_tokens", output_norm = "norm", output = "lm_head" }
  for name, module in pairs { attn_norm = "input_layernorm", attn_q = "self_attn.q_proj", attn_k = "self_attn.k_proj",
    attn_v = "self_attn.v_proj", attn_output = "self_attn.o_proj", ffn_norm = "post_attention_layernorm",
    ffn_gate = "mlp.gate_proj", ffn_up = "mlp.up_proj", ffn_down = "mlp.down_proj" } do
    tensors["blk.*." .. name] = "layers.*." .. module
  end
  for name, module in pairs(blocks or {}) do tensors["blk.*." .. name] = "layers.*." .. module end
  return tensors
end

--- config.json's keys by those of a file's metadata, which stand below the architecture's name.
---@param architecture string
---@param more table<string, string>|nil json key → metadata key
---@return table<string, string>
function gguf_names.metadata(architecture, more)
  local metadata = {}
  for _, keys in ipairs { { num_hidden_layers = "block_count", hidden_size = "embedding_length",
    intermediate_size = "feed_forward_length", num_attention_heads = "attention.head_count",
    num_key_value_heads = "attention.head_count_kv", head_dim = "attention.key_length",
    max_position_embeddings = "context_length", rms_norm_eps = "attention.layer_norm_rms_epsilon" }, more or {} } do
    for key, name in pairs(keys) do metadata[key] = architecture .. "." .. name end
  end
  return metadata
end

return gguf_names
