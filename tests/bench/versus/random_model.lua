-- A Llama of 1.1 billion random weights (TinyLlama's shape, 2.1 GiB in bf16), since speed does not ask what weights
-- are. Both sides of versus.lua read what is made of it:
--
--     perilune tests/bench/versus/random_model.lua FOLDER
--     perilune quantize FOLDER 1.1b-q4_0.gguf --to q4_0 lm_head=q8_0 --no-report     # bf16, q8_0, q4_0, q4_k
local pl = require "perilune"

local shape = { hidden = 2048, layers = 22, heads = 32, kv_heads = 4, inner = 5632, vocab = 32000 }

local config = [[{
  "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": %d,
  "num_hidden_layers": %d, "num_attention_heads": %d, "num_key_value_heads": %d, "intermediate_size": %d,
  "vocab_size": %d, "max_position_embeddings": 8192, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
  "tie_word_embeddings": false, "torch_dtype": "bfloat16", "bos_token_id": 1, "eos_token_id": 2
}
]]

-- Outputs of a layer stay as large as its inputs.
local function matrix(rows, columns, seed)
  local t = pl.random({ rows, columns }, { seed = seed }) - 0.5
  return (t * (3.46 / math.sqrt(columns))):to "bf16"
end

local function weights()
  local all, seed = {}, 0
  local function add(name, rows, columns)
    seed = seed + 1
    all[name .. ".weight"] = columns and matrix(rows, columns, seed) or pl.ones { rows }
  end
  local kv = shape.hidden / shape.heads * shape.kv_heads
  add("model.embed_tokens", shape.vocab, shape.hidden)
  add("lm_head", shape.vocab, shape.hidden)
  add("model.norm", shape.hidden)
  for i = 0, shape.layers - 1 do
    local at = "model.layers." .. i .. "."
    add(at .. "input_layernorm", shape.hidden)
    add(at .. "post_attention_layernorm", shape.hidden)
    add(at .. "self_attn.q_proj", shape.hidden, shape.hidden)
    add(at .. "self_attn.k_proj", kv, shape.hidden)
    add(at .. "self_attn.v_proj", kv, shape.hidden)
    add(at .. "self_attn.o_proj", shape.hidden, shape.hidden)
    add(at .. "mlp.gate_proj", shape.inner, shape.hidden)
    add(at .. "mlp.up_proj", shape.inner, shape.hidden)
    add(at .. "mlp.down_proj", shape.hidden, shape.inner)
  end
  return all
end

local folder = arg[1]
assert(folder, "name the folder that the model is written to")
assert(os.execute(("mkdir -p '%s'"):format(folder)) == 0, "cannot make " .. folder)
pl.save(folder .. "/model.safetensors", weights())
local file = assert(io.open(folder .. "/config.json", "w"))
file:write(config:format(shape.hidden, shape.layers, shape.heads, shape.kv_heads, shape.inner, shape.vocab))
file:close()
