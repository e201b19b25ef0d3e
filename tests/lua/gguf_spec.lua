-- GGUF files as models: the same values as the folder they were made from, and what is said of wrong ones.
local pl = require "perilune"
local core = require "perilune.core"
local folder_of = require "folder_of"
local gguf_of = require "gguf_of"
local t = require "spec"

local ids = { 1, 9, 17, 4, 33, 21, 8, 2, 40, 11 }
local options = { compute = "f32", tokenizer = false }

local function with(more) return t.with(options, more) end

-- A file of its own, written from keys and tensors.
local function written(keys, tensors, name)
  local folder = folder_of.copy(t.golden "llama-gqa", { ["config.json"] = false, ["model.safetensors"] = false,
    ["tokenizer.model"] = false, ["tokenizer_config.json"] = false, ["generation_config.json"] = false })
  local path = folder .. "/" .. (name or "model.gguf")
  core.write_file(path, gguf_of.bytes(keys, tensors))
  return path, folder
end

local function converted(model) return written(gguf_of.parts(t.golden(model))) end

local function answer(m, key)
  local r = m:forward({ ids }, m.family == "t5" and { decoder = { { 0, 7, 5 } } } or nil)
  return r[key or "logits"]
end

local function same(a, b, key)
  local x, y = answer(a, key):to "f32":tolist(), answer(b, key):to "f32":tolist()
  t.equal(x, y)
end

for _, model in ipairs { "llama-gqa", "mistral-window", "qwen2-bias", "qwen3-qknorm", "phi3-fused-qkv", "gemma2-softcap",
  "gpt2-plain" } do
  t.test("a GGUF file answers as the folder it was made from: " .. model, function()
    local path = converted(model)
    same(pl.load(path, options), pl.load(t.golden(model), options))
  end)
end

t.test("a GGUF file answers as the folder it was made from: encoders", function()
  same(pl.load(converted "bert-sequence", options), pl.load(t.golden "bert-sequence", with { head = "base" }), "last_hidden_state")
end)

t.test("a GGUF file answers as the folder it was made from: encoder-decoders", function()
  -- The files do not say where the distances end: 128 in all published models.
  local text = core.read_file(t.golden "t5-gated-untied" .. "/config.json"):gsub('("relative_attention_max_distance": )%d+', "%1128")
  local m = pl.load(converted "t5-gated-untied", options)
  local folder = pl.load(folder_of.copy(t.golden "t5-gated-untied", { ["config.json"] = text }), options)
  local settings = { do_sample = false, max_new_tokens = 8 }
  t.equal(m:generate({ ids }, settings)[1].ids, folder:generate({ ids }, settings)[1].ids)
end)

t.test("stored frequencies and their types", function()
  local folder = t.golden "llama-gqa"
  local keys, tensors = gguf_of.parts(folder)
  local factors, head_dim = {}, 0
  for _, tensor in ipairs(tensors) do
    if tensor.name == "blk.0.attn_q.weight" then head_dim = tensor.sizes[1] end
  end
  for _, key in ipairs(keys) do if key[1] == "llama.attention.head_count" then head_dim = head_dim / key[3] end end
  for i = 1, head_dim / 2 do factors[i] = gguf_of.float(4) end
  tensors[#tensors + 1] = { name = "rope_freqs.weight", sizes = { head_dim / 2 }, type = 0, bytes = table.concat(factors) }
  -- Every frequency divided by 4 is linear scaling by 4.
  local text = core.read_file(folder .. "/config.json"):gsub('"rope_type": "default"', '"rope_type": "linear", "factor": 4.0')
  local linear = folder_of.copy(folder, { ["config.json"] = text })
  local a, b = answer(pl.load(written(keys, tensors), options)), answer(pl.load(linear, options))
  t.ok(a:close(b, 1e-5))
  t.ok(not a:close(answer(pl.load(folder, options)), 1e-3), "the factors are read")
end)

t.test("quantized weights are the values that their type defines", function()
  local keys, tensors = gguf_of.parts(t.golden "mistral-window")
  local state = 1
  local function byte()
    state = state * 16807 % 2147483647
    return string.char(state % 256)
  end
  local quantized = {}
  for _, tensor in ipairs(tensors) do
    if tensor.name:find "ffn_down" or tensor.name:find "token_embd" then
      local blocks = {}
      for i = 1, tensor.sizes[1] * tensor.sizes[2] / 32 do
        local bytes = {}
        for k = 1, 32 do bytes[k] = byte() end
        blocks[i] = "\0\20" .. table.concat(bytes)   -- the scale is a thousandth, about
      end
      tensor.type, tensor.bytes = 8, table.concat(blocks)   -- Q8_0
      quantized[#quantized + 1] = tensor.name
    end
  end
  local path = written(keys, tensors)
  local file = pl.open(path)
  local folder = folder_of.copy(t.golden "mistral-window")
  local source, all = pl.open(folder .. "/model.safetensors"), {}
  for _, name in ipairs(source.names) do all[name] = source.tensor(name) end
  for _, name in ipairs(quantized) do
    local tensor = file.tensor(name)
    t.equal(tensor.dtype, "f32")
    local layer = name:match "^blk%.(%d+)"
    all[layer and ("model.layers.%s.mlp.down_proj.weight"):format(layer) or "model.embed_tokens.weight"] = tensor
  end
  pl.save(folder .. "/model.safetensors", all)
  same(pl.load(path, options), pl.load(folder, options))
  same(pl.load(path, with { mmap = true }), pl.load(folder, options))
end)

t.test("metadata says how generation ends", function()
  local keys, tensors = gguf_of.parts(t.golden "llama-gqa")
  for name, id in pairs { bos = 1, eos = 2, eot = 5, padding = 0 } do
    keys[#keys + 1] = { ("tokenizer.ggml.%s_token_id"):format(name), "u32", id }
  end
  local path, folder = written(keys, tensors)
  local m = pl.load(folder, options)   -- a folder with one GGUF file is that file
  t.equal(m.path, path)
  t.equal(m.family, "llama")
  t.equal(m.config.eos_token_id, { 2, 5 })
  t.equal({ m.config.bos_token_id, m.config.pad_token_id }, { 1, 0 })
  t.equal(m.max_tokens, 256)
end)

-- What is wrong, how it is made from the right parts, and words of the error.
local wrong = {
  { "another architecture", function(keys) keys[1][3] = "lama" end, { "lama", "did you mean", "llama" } },
  { "a mixture of experts", function(keys) keys[#keys + 1] = { "llama.expert_count", "u32", 8 } end, { "mixture of 8 experts" } },
  { "an adapter", function(keys) keys[#keys + 1] = { "general.type", "string", "adapter" } end, { "adapter" } },
  { "a tensor that nobody reads", function(_, tensors)
    tensors[#tensors + 1] = { name = "blk.0.extra.weight", sizes = { 1 }, type = 0, bytes = "\0\0\0\0" }
  end, { "blk.0.extra.weight", "no pass" } },
  { "a missing key", function(keys) table.remove(keys, 2) end, { "num_hidden_layers" } },
  { "scaling of a kind that is not known", function(keys) keys[#keys + 1] = { "llama.rope.scaling.type", "string", "spiral" } end, { "spiral" } },
  { "missing shards", function(keys) keys[#keys + 1] = { "split.count", "u32", 3 } end, { "load the first shard" } },
}
for _, case in ipairs(wrong) do
  t.test("refused: " .. case[1], function()
    local keys, tensors = gguf_of.parts(t.golden "llama-gqa")
    case[2](keys, tensors)
    local path = written(keys, tensors)
    t.raises_text(function() pl.load(path, options) end, unpack(case[3]))
  end)
end

t.test("a saved copy is the same file, and an encoder's file says how texts are pooled", function()
  local keys, tensors = gguf_of.parts(t.golden "bert-sequence")
  keys[#keys + 1] = { "bert.pooling_type", "u32", 2 }
  local m = pl.load(written(keys, tensors), options)
  local to = folder_of.copy(t.golden "bert-sequence", { ["config.json"] = false, ["model.safetensors"] = false, ["tokenizer.json"] = false,
    ["tokenizer_config.json"] = false, ["vocab.txt"] = false })
  m:save(to)
  local copy = pl.load(to, options)
  same(copy, m, "last_hidden_state")
  t.equal(copy:embed({ ids }):tolist(), copy:embed({ ids }, { pooling = "cls" }):tolist())
  t.ok(not copy:embed({ ids }):equal(copy:embed({ ids }, { pooling = "mean" })))
end)

t.test("shards are read together, and missing ones named", function()
  local keys, tensors = gguf_of.parts(t.golden "llama-gqa")
  keys[#keys + 1] = { "split.count", "u32", 2 }
  keys[#keys + 1] = { "split.no", "u32", 0 }
  local first, second = {}, {}
  for i, tensor in ipairs(tensors) do
    local into = (i % 2 == 0 or tensor.name == "token_embd.weight") and first or second
    into[#into + 1] = tensor
  end
  local path, folder = written(keys, first, "m-00001-of-00002.gguf")
  t.raises_text(function() pl.load(path, options) end, "1 of 2 shards", "m-00002-of-00002.gguf")
  core.write_file(folder .. "/m-00002-of-00002.gguf",
    gguf_of.bytes({ keys[1], { "split.count", "u32", 2 }, { "split.no", "u32", 1 } }, second))
  same(pl.load(folder, options), pl.load(t.golden "llama-gqa", options))
end)

t.test("a pickle is refused, with the way out", function()
  for name, bytes in pairs { ["pytorch_model.bin"] = "PK\3\4rest", ["model.pt"] = "\128\2\138\nlF\252\156F\249 j\168P\25." } do
    local _, folder = written(gguf_of.parts(t.golden "llama-gqa"))
    os.remove(folder .. "/model.gguf")
    core.write_file(folder .. "/" .. name, bytes)
    core.write_file(folder .. "/config.json", core.read_file(t.golden "llama-gqa" .. "/config.json"))
    for _, path in ipairs { folder .. "/" .. name, folder } do
      t.raises_text(function() pl.load(path, options) end, name, "pickled files are never read", "safe_serialization")
    end
    t.raises_text(function() pl.open(folder .. "/" .. name) end, name, "pickled")
  end
end)

t.test("remove the folders", folder_of.remove_all)
