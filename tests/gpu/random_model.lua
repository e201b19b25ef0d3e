-- A Llama of random weights in bf16, for timings at published sizes without a download.
--   perilune tests/gpu/random_model.lua FOLDER SHAPE [LAYERS]      SHAPE: 1b, 8b or tiny
local pl = require "perilune"

-- hidden, ffn, heads, kv heads, layers, vocab: Llama 3.2 1B, Llama 3.1 8B, one for trying this out.
local shapes = {
  ["1b"] = { hidden = 2048, ffn = 8192, heads = 32, kv_heads = 8, layers = 16, vocab = 128256 },
  ["8b"] = { hidden = 4096, ffn = 14336, heads = 32, kv_heads = 8, layers = 32, vocab = 128256 },
  tiny = { hidden = 64, ffn = 128, heads = 4, kv_heads = 2, layers = 2, vocab = 96 },
}

local folder, name, layers = arg[1], arg[2], tonumber(arg[3])
local shape = shapes[name]
if not folder or not shape then
  io.stderr:write "usage: perilune tests/gpu/random_model.lua FOLDER 1b|8b|tiny [LAYERS]\n"
  os.exit(2)
end
layers = layers or shape.layers
local head_dim = shape.hidden / shape.heads

local seed = 0
-- [outputs, inputs], so small that activations keep their size through the layers.
local function weight(outputs, inputs)
  seed = seed + 1
  local t = pl.random({ outputs, inputs }, { seed = seed })
  return ((t - 0.5) * (2 / math.sqrt(inputs))):to "bf16"
end
local function ones() return pl.ones({ shape.hidden }):to "bf16" end

local tensors = { ["model.embed_tokens.weight"] = weight(shape.vocab, shape.hidden), ["model.norm.weight"] = ones() }
for i = 0, layers - 1 do
  local at = ("model.layers.%d."):format(i)
  tensors[at .. "self_attn.q_proj.weight"] = weight(shape.hidden, shape.hidden)
  tensors[at .. "self_attn.k_proj.weight"] = weight(shape.kv_heads * head_dim, shape.hidden)
  tensors[at .. "self_attn.v_proj.weight"] = weight(shape.kv_heads * head_dim, shape.hidden)
  tensors[at .. "self_attn.o_proj.weight"] = weight(shape.hidden, shape.hidden)
  tensors[at .. "mlp.gate_proj.weight"] = weight(shape.ffn, shape.hidden)
  tensors[at .. "mlp.up_proj.weight"] = weight(shape.ffn, shape.hidden)
  tensors[at .. "mlp.down_proj.weight"] = weight(shape.hidden, shape.ffn)
  tensors[at .. "input_layernorm.weight"] = ones()
  tensors[at .. "post_attention_layernorm.weight"] = ones()
end

pl.files.make_folder(folder)
pl.save(folder .. "/model.safetensors", tensors)
local config = assert(io.open(folder .. "/config.json", "w"))
config:write(pl.json.encode {
  architectures = { "LlamaForCausalLM" }, model_type = "llama", hidden_act = "silu", rms_norm_eps = 1e-5,
  hidden_size = shape.hidden, intermediate_size = shape.ffn, num_hidden_layers = layers,
  num_attention_heads = shape.heads, num_key_value_heads = shape.kv_heads, vocab_size = shape.vocab,
  max_position_embeddings = 8192, rope_theta = 500000, tie_word_embeddings = true, bos_token_id = 1, eos_token_id = 2,
})
config:close()
print(("%s: a random Llama of shape %s with %d layers"):format(folder, name, layers))
