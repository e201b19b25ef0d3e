-- Files as people have them: every cut of a GGUF file, one tensor under several names, spellings of an index,
-- float64, rope keys of llama.cpp, files that are no weights, and what an answer begins with.
local pl = require "perilune"
local core = require "perilune.core"
local folder_of = require "folder_of"
local gguf_of = require "gguf_of"
local safetensors_of = require "safetensors_of"
local t = require "spec"

local stored, written, little_endian = safetensors_of.stored, safetensors_of.bytes, safetensors_of.little_endian
local ids = { 1, 9, 17, 4, 33, 21, 8, 2, 40, 11 }
local options = { compute = "f32", tokenizer = false, threads = 1 }

local function logits(path, more)
  local m = pl.load(path, t.with(options, more or {}))
  local r = m:forward({ ids }, m.family == "t5" and { decoder = { { 0, 7, 5 } } } or nil)
  local list, warnings = (r.logits or r.last_hidden_state):to "f32":tolist(), table.concat(m.warnings, "\n")
  m:close()
  return list, warnings
end

local no_tokenizer = { ["tokenizer.model"] = false, ["tokenizer.json"] = false, ["tokenizer_config.json"] = false,
  ["generation_config.json"] = false, ["vocab.txt"] = false, ["vocab.json"] = false, ["merges.txt"] = false }

local function emptied(golden) return folder_of.copy(t.golden(golden), t.with(no_tokenizer, { ["config.json"] = false, ["model.safetensors"] = false })) end

-- ---------------------------------------------------------------- GGUF in shards

-- Writes tensors as shards; cut(i) says which shard, from 1, tensor i goes to.
local function write_shards(folder, keys, tensors, count, cut)
  local groups = {}
  for i = 1, count do groups[i] = {} end
  for i, tensor in ipairs(tensors) do table.insert(groups[cut(i, tensor)], tensor) end
  local paths = {}
  for i, group in ipairs(groups) do
    local own = i == 1 and { unpack(keys) } or { keys[1] }
    own[#own + 1], own[#own + 2], own[#own + 3] = { "split.no", "u32", i - 1 }, { "split.count", "u32", count }, { "split.tensors.count", "u32", #tensors }
    paths[i] = ("%s/m-%05d-of-%05d.gguf"):format(folder, i, count)
    core.write_file(paths[i], gguf_of.bytes(own, group))
  end
  return paths
end

-- Llama's tensors with factors of its frequencies, or Qwen2's with biases.
local function parts_of(model)
  local keys, tensors = gguf_of.parts(t.golden(model))
  if model == "llama-gqa" then
    tensors[#tensors + 1] = { name = "rope_freqs.weight", sizes = { 4 }, type = 0, bytes = gguf_of.float(1) .. gguf_of.float(2) .. gguf_of.float(4) .. gguf_of.float(8) }
  end
  return keys, tensors
end

for _, model in ipairs { "llama-gqa", "qwen2-bias" } do
  t.test("every cut of a GGUF file loads as the whole file does: " .. model, function()
    local keys, tensors = parts_of(model)
    local folder = emptied(model)
    core.write_file(folder .. "/whole.gguf", gguf_of.bytes(keys, tensors))
    local whole = logits(folder .. "/whole.gguf")
    os.remove(folder .. "/whole.gguf")
    for first = 0, #tensors, 3 do   -- 0: the first shard is metadata alone
      local paths = write_shards(folder, keys, tensors, 2, function(i) return i <= first and 1 or 2 end)
      t.equal(logits(paths[1 + first % 2]), whole)   -- any of the shards names the model
    end
    write_shards(folder, keys, tensors, 4, function(i) return i * 7 % 3 + 2 end)
    os.remove(folder .. "/m-00001-of-00002.gguf")
    os.remove(folder .. "/m-00002-of-00002.gguf")
    t.equal(logits(folder), whole)
  end)
end

t.test("shards that do not belong together are named", function()
  local keys, tensors = gguf_of.parts(t.golden "llama-gqa")
  local folder = emptied "llama-gqa"
  local paths = write_shards(folder, keys, tensors, 2, function(i) return i % 2 + 1 end)
  core.write_file(paths[2], gguf_of.bytes({ keys[1], { "split.no", "u32", 1 }, { "split.count", "u32", 3 } }, {}))
  t.raises_text(function() pl.load(folder, options) end, "m-00002-of-00002.gguf", "shard 2 of 3")
end)

-- ---------------------------------------------------------------- safetensors

-- float32's bits as float64's: the same values.
local function widened(bytes)
  local out = {}
  for i = 1, #bytes, 4 do
    local a, b, c, d = bytes:byte(i, i + 3)
    local exponent, fraction = d % 128 * 2 + math.floor(c / 128), c % 128 * 65536 + b * 256 + a
    if exponent == 0 then
      t.equal(fraction, 0)
      out[#out + 1] = ("\0"):rep(7) .. string.char(d)
    else
      local wide = exponent - 127 + 1023
      local high = (d >= 128 and 0x80000000 or 0) + wide * 2 ^ 20 + math.floor(fraction / 8)
      out[#out + 1] = little_endian(fraction % 8 * 2 ^ 29, 4) .. little_endian(high, 4)
    end
  end
  return table.concat(out)
end

-- ---------------------------------------------------------------- one tensor under several names

-- What safetensors' save_model leaves of a tied model: the first name, and a note of the others.
local tied = {
  { "t5-relu-tied", kept = "decoder.embed_tokens.weight", "shared.weight" },
  { "gpt2-plain", kept = "lm_head.weight", "transformer.wte.weight" },
  { "gemma2-softcap", kept = "lm_head.weight", "model.embed_tokens.weight" },
}
for _, case in ipairs(tied) do
  for _, noted in ipairs { true, false } do
    t.test(("one of the names of a tied tensor is stored, %s: %s"):format(noted and "and noted" or "without a note", case[1]), function()
      local folder = folder_of.copy(t.golden(case[1]), no_tokenizer)
      local whole = logits(folder)
      local list, found = stored(folder .. "/model.safetensors"), false
      for _, tensor in ipairs(list) do
        if tensor.name == case[2] then tensor.name, found = case.kept, true end
      end
      t.ok(found, "the golden model stores it")
      core.write_file(folder .. "/model.safetensors", written(list, noted and { [case[2]] = case.kept } or nil))
      t.equal(logits(folder), whole)
    end)
  end
end

t.test("T5 without a head of its own has the embedding, whatever its config says of tying", function()
  local folder = folder_of.copy(t.golden "t5-gated-untied", no_tokenizer)
  local own, none, shared = stored(folder .. "/model.safetensors"), {}, nil
  for _, tensor in ipairs(own) do
    if tensor.name == "shared.weight" then shared = tensor.bytes end
    if tensor.name ~= "lm_head.weight" then none[#none + 1] = tensor end
  end
  for _, tensor in ipairs(own) do if tensor.name == "lm_head.weight" then tensor.bytes = shared end end
  core.write_file(folder .. "/model.safetensors", written(own))
  local whole = logits(folder)
  core.write_file(folder .. "/model.safetensors", written(none))
  t.equal(logits(folder), whole)
end)

t.test("a file that was cut after it was mapped is an error", function()
  local folder = folder_of.copy(t.golden "llama-gqa", no_tokenizer)
  local path = folder .. "/model.safetensors"
  local checkpoint = core.checkpoint(folder, { mmap = true })
  local file = assert(io.open(path, "wb"))
  file:write(("x"):rep(100))
  file:close()
  t.raises_text(function() checkpoint:tensor("model.norm.weight", { "hidden" }) end, "it ends at byte 100", "mmap")
end)

t.test("an encoder's own embedding counts where it differs from the shared one", function()
  local folder = folder_of.copy(t.golden "t5-relu-tied", no_tokenizer)
  local whole = logits(folder)
  local file, all = pl.open(folder .. "/model.safetensors"), {}
  for _, name in ipairs(file.names) do all[name] = file.tensor(name) end
  all["encoder.embed_tokens.weight"] = all["shared.weight"] + 0
  pl.save(folder .. "/model.safetensors", all)
  t.equal(logits(folder), whole)
  all["encoder.embed_tokens.weight"] = all["shared.weight"] * 1.5
  pl.save(folder .. "/model.safetensors", all)
  t.ok(logits(folder)[1][1] ~= whole[1][1])
end)

t.test("float64 is read as float32", function()
  local folder = folder_of.copy(t.golden "llama-gqa", no_tokenizer)
  local whole, list = logits(folder), stored(folder .. "/model.safetensors")
  for _, tensor in ipairs(list) do
    if tensor.dtype == "F32" then tensor.dtype, tensor.bytes = "F64", widened(tensor.bytes) end
  end
  core.write_file(folder .. "/model.safetensors", written(list))
  t.equal(logits(folder), whole)
  t.equal(logits(folder, { mmap = true }), whole)
  t.equal(pl.open(folder .. "/model.safetensors").tensor(list[1].name).dtype, "f32")
end)

t.test("an index may say ./shard, the wrong shard, or nothing of a tensor", function()
  local folder = folder_of.copy(t.golden "llama-gqa", no_tokenizer)
  local whole, list = logits(folder), stored(folder .. "/model.safetensors")
  local first, second = { unpack(list, 1, 10) }, { unpack(list, 11) }
  core.write_file(folder .. "/a.safetensors", written(first))
  core.write_file(folder .. "/b.safetensors", written(second))
  os.remove(folder .. "/model.safetensors")
  local function index(of)
    local entries = {}
    for i, tensor in ipairs(list) do
      local shard = of(i)
      if shard then entries[#entries + 1] = ('"%s":"%s"'):format(tensor.name, shard) end
    end
    core.write_file(folder .. "/model.safetensors.index.json", '{"metadata":{},"weight_map":{' .. table.concat(entries, ",") .. "}}")
  end
  index(function(i) return i <= 10 and "./a.safetensors" or ".//b.safetensors" end)
  t.equal(logits(folder), whole)
  index(function(i) return i <= 10 and "b.safetensors" or "a.safetensors" end)
  t.equal(logits(folder), whole)
  index(function(i) return i > 1 and (i <= 10 and "a.safetensors" or "b.safetensors") or nil end)
  t.equal(logits(folder), whole)
  for _, shard in ipairs { "../a.safetensors", "/a.safetensors", "." } do
    index(function() return shard end)
    t.raises_text(function() pl.load(folder, options) end, "not a file of this folder")
  end
end)

-- ---------------------------------------------------------------- files that are no weights

local foreign = {
  { "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 3\n", "Git LFS pointer", "git lfs pull" },
  { "\n<!DOCTYPE html><html><head></head></html>", "an HTML page", "download" },
  { '{"error":"Repository not found","code":404}', "a JSON text" }, { "Not Found\n", "a text" },
  { "<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "XML" }, { "", "an empty file" }, { "\31\139\8\0rest of it", "gzip", "unpack" },
  { "PK\3\4\20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\9\0notes.txt", "a zip archive", "unpack" },
  { "PK\3\4\20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\16\0archive/data.pkl", "pickled", "never read" },
  { "\128\2}q\0X\1\0\0\0aq\1s.", "pickled", "never read" }, { "\128\4\149\30\0\0\0\0\0\0\0}", "pickled" },
  { "\137HDF\r\n\26\n\0\0\0\0", "HDF5", "save_pretrained" }, { "\147NUMPY\1\0v\0{'descr'", "NumPy" }, { "tjgg\1\0\0\0more", "before GGUF" },
  { "\40\181\47\253abcdefgh", "zstd" }, { ("\0"):rep(64), "zeros" },
}
for _, case in ipairs(foreign) do
  t.test("named for what it is: " .. case[2], function()
    local folder = folder_of.copy(t.golden "llama-gqa", no_tokenizer)
    core.write_file(folder .. "/model.safetensors", case[1])
    t.raises_text(function() pl.load(folder, options) end, "model.safetensors", unpack(case, 2))
    core.write_file(folder .. "/m.gguf", case[1])
    t.raises_text(function() pl.load(folder .. "/m.gguf", options) end, "m.gguf", case[2])
  end)
end

t.test("a link whose file is gone is named", function()
  local folder = folder_of.copy(t.golden "llama-gqa", t.with(no_tokenizer, { ["model.safetensors"] = false }))
  os.execute(("ln -s ../blobs/4d7a %s/model.safetensors"):format(folder))
  local err = t.raises_text(function() pl.load(folder, options) end, "model.safetensors is a link to ../blobs/4d7a", "not there")
  t.equal(err.code, "file")
end)

-- A clone without its large files has pointers in place of tokenizers, too; a login page may be anything.
for _, case in ipairs { { "llama-gqa", "config.json" }, { "llama-gqa", "tokenizer_config.json" }, { "llama-gqa", "generation_config.json" },
  { "llama-gqa", "tokenizer.model" }, { "gpt2-plain", "tokenizer.json" }, { "gpt2-plain", "vocab.json", "tokenizer.json" },
  { "gpt2-plain", "merges.txt", "tokenizer.json" }, { "bert-base", "vocab.txt", "tokenizer.json" } } do
  t.test("named for what it is in place of " .. case[2], function()
    for kind, text in pairs { ["Git LFS pointer"] = foreign[1][1], ["HTML page"] = foreign[2][1] } do
      local files = { [case[2]] = text }
      if case[3] then files[case[3]] = false end
      local folder = folder_of.copy(t.golden(case[1]), files)
      local err = t.raises_text(function() pl.load(folder, { compute = "f32" }) end, case[2] .. ": ", kind)
      t.ok(err.hint:find "download", err.hint)
    end
  end)
end

t.test("settings of 40 MB are refused with the number", function()
  local folder = folder_of.copy(t.golden "llama-gqa", no_tokenizer)
  core.write_file(folder .. "/config.json", core.read_file(folder .. "/config.json") .. (" "):rep(40 * 2 ^ 20))
  t.raises_text(function() pl.load(folder, options) end, "config.json", "too large", "33554432")
end)

t.test("a number of labels that the weights do not have is an error before they are named", function()
  local text = core.read_file(t.golden "bert-sequence" .. "/config.json"):gsub('"id2label":%s*%b{},?', ""):gsub('"label2id":%s*%b{},?', "")
    :gsub("{", '{"num_labels": 2147483647,', 1)
  local folder = folder_of.copy(t.golden "bert-sequence", t.with(no_tokenizer, { ["config.json"] = text }))
  t.raises_text(function() pl.load(folder, options) end, "2147483647", "classifier")
end)

-- ---------------------------------------------------------------- rope keys of GGUF

-- Keys below llama.rope, and what config.json would say for the same values. llama.cpp multiplies the factors of
-- attention, takes yarn's own from the scaling factor, and reads 0 as none.
local yarn = 0.1 * math.log(4) + 1
local ropes = {
  { {}, {} },
  { { ["scaling.type"] = "linear" }, {} }, { { ["scaling.type"] = "linear", ["scaling.factor"] = 0 }, {} },
  { { ["scaling.factor"] = 4 }, { rope_type = "linear", factor = 4 } }, { { scale_linear = 4 }, { rope_type = "linear", factor = 4 } },
  { { ["scaling.type"] = "none", ["scaling.factor"] = 4 }, {} },
  { { ["scaling.type"] = "yarn", ["scaling.factor"] = 4, ["scaling.original_context_length"] = 64 },
    { rope_type = "yarn", factor = 4, original_max_position_embeddings = 64 } },
  { { ["scaling.type"] = "yarn", ["scaling.factor"] = 4, ["scaling.original_context_length"] = 64, ["scaling.attn_factor"] = 1.5,
    ["scaling.yarn_beta_fast"] = 16, ["scaling.yarn_beta_slow"] = 2 },
    { rope_type = "yarn", factor = 4, original_max_position_embeddings = 64, attention_factor = 1.5 * yarn, beta_fast = 16, beta_slow = 2 } },
  { { ["scaling.type"] = "yarn", ["scaling.factor"] = 4, ["scaling.original_context_length"] = 64, ["scaling.yarn_log_multiplier"] = 0.5 },
    { rope_type = "yarn", factor = 4, original_max_position_embeddings = 64, attention_factor = yarn / (0.05 * math.log(4) + 1) } },
  { { ["scaling.type"] = "yarn", ["scaling.factor"] = 4, ["scaling.yarn_ext_factor"] = 0 }, { rope_type = "linear", factor = 4 } },
  { { ["scaling.type"] = "yarn", ["scaling.factor"] = 4, ["scaling.original_context_length"] = 64, ["scaling.yarn_attn_factor"] = 2 },
    { rope_type = "yarn", factor = 4, original_max_position_embeddings = 64 }, "yarn_attn_factor" },
  { { ["scaling.alpha"] = 7 }, {}, "llama.rope.scaling.alpha" },
}
for i, case in ipairs(ropes) do
  t.test(("rope keys of a GGUF file, %d"):format(i), function()
    local golden = t.golden "llama-gqa"
    local keys, tensors = gguf_of.parts(golden)
    for name, value in pairs(case[1]) do keys[#keys + 1] = { "llama.rope." .. name, type(value) == "string" and "string" or "f32", value } end
    local path = emptied "llama-gqa" .. "/m.gguf"
    core.write_file(path, gguf_of.bytes(keys, tensors))
    local said = { '"rope_type": "default"', '"rope_theta": 10000.0' }
    if case[2].rope_type then said = { '"rope_theta": 10000.0' } end
    for key, value in pairs(case[2]) do said[#said + 1] = ('"%s": %s'):format(key, type(value) == "string" and '"' .. value .. '"' or ("%.9g"):format(value)) end
    local text = core.read_file(golden .. "/config.json"):gsub('"rope_parameters":%s*%b{}', '"rope_parameters": {' .. table.concat(said, ", ") .. "}")
    local ours, warnings = logits(path)
    local theirs = logits(folder_of.copy(golden, t.with(no_tokenizer, { ["config.json"] = text })))
    t.near(ours, theirs, 1e-4)
    if case[3] then t.ok(warnings:find(case[3], 1, true), warnings) end
  end)
end

t.test("cosines and sines are multiplied by a factor of attention without a type", function()
  local keys, tensors = gguf_of.parts(t.golden "llama-gqa")
  local path = emptied "llama-gqa" .. "/m.gguf"
  core.write_file(path, gguf_of.bytes(keys, tensors))
  local plain = logits(path)
  keys[#keys + 1] = { "llama.rope.scaling.attn_factor", "f32", 1.5 }
  core.write_file(path, gguf_of.bytes(keys, tensors))
  t.ok(math.abs(logits(path)[1][1] - plain[1][1]) > 1e-4)
end)

t.test("a GGUF file without a tokenizer takes ids", function()
  local path = emptied "llama-gqa" .. "/m.gguf"
  core.write_file(path, gguf_of.bytes(gguf_of.parts(t.golden "llama-gqa")))
  local m = pl.load(path, { compute = "f32", threads = 1 })
  t.equal(m.tokenizer, nil)
  t.equal(#m:generate({ 5, 6 }, { max_new_tokens = 3, do_sample = false, eos_token_id = {} }).ids, 3)
  t.raises_text(function() m:generate("a text", {}) end, "no tokenizer")
end)

-- ---------------------------------------------------------------- what an answer begins with

t.test("generation_config.json says what an answer begins with, config.json after it", function()
  local function first(settings, more)
    local changes = { ["generation_config.json"] = settings or false }
    local m = pl.load(folder_of.copy(t.golden "t5-gated-untied", t.with(no_tokenizer, changes)), options)
    local o = t.with({ do_sample = false, max_new_tokens = 5, eos_token_id = {} }, more or {})
    local answer, pass = m:generate(ids, o).ids, m:forward({ ids }, { decoder_start_token_id = o.decoder_start_token_id, decoder = o.decoder }).logits:tolist()
    m:close()
    return { answer, pass }
  end
  local zero, nine, three = first(nil, { decoder = { 0 } }), first(nil, { decoder = { 9 } }), first(nil, { decoder = { 3 } })
  t.ok(zero[1][1] ~= nine[1][1] or zero[2][1][1] ~= nine[2][1][1])
  t.equal(first(nil), zero)
  t.equal(first '{"decoder_start_token_id": 9, "bos_token_id": 3}', nine)
  t.equal(first '{"decoder_start_token_id": [9]}', nine)
  t.equal(first '{"bos_token_id": 3}', three)
  t.equal(first '{"max_length": 20}', zero)
  t.equal(first('{"decoder_start_token_id": 9}', { decoder_start_token_id = 3 }), three)
  t.raises_text(function() first '{"decoder_start_token_id": 5000}' end, "generation_config.json", "decoder_start_token_id", "5000")
  t.raises_text(function() first(nil, { decoder_start_token_id = 5000 }) end, "decoder_start_token_id", "5000")
  t.raises_text(function() first(nil, { decoder_start_token_id = 3, decoder = { 9 } }) end, "contradict")
end)

t.test("remove the folders", folder_of.remove_all)
