-- What loading costs: the file is read once, and never is twice the memory needed. Counted by the
-- system (bytes that reads returned) and by the device (its highest use).
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"

-- Bytes that this process has read so far, or nil where the system does not say.
local function bytes_read()
  local file = io.open "/proc/self/io"
  if not file then return nil end
  local text = file:read "*a"
  file:close()
  return tonumber(text:match "rchar: (%d+)")
end

local function file_bytes(path)
  local file = assert(io.open(path, "rb"))
  local size = file:seek "end"
  file:close()
  return size
end

t.test("memory for the weights and the one that is being read", function()
  local held = core.devices()[1].used
  local m = pl.load("scripts/models/tales", { compute = "f32", tokenizer = false, device = "cpu" })
  m:forward { { 1, 2, 3 } }
  local weights, peak = m:memory().weights, core.devices()[1].peak - held
  t.ok(weights > 8e6, "the model is too small to tell")
  t.ok(peak >= weights and peak < 1.5 * weights, ("%d bytes at most, for %d bytes of weights"):format(peak, weights))
end)

for _, model in ipairs { "scripts/models/tales", "tests/golden/llama-rope3-bf16", "tests/golden/t5-gated-untied" } do
  for _, mmap in ipairs { false, true } do
    t.test(("%s is read once (mmap=%s)"):format(model, tostring(mmap)), function()
      local stored, before = file_bytes(model .. "/model.safetensors"), bytes_read()
      if not before then t.skip "the system does not count what is read" end
      local m = pl.load(model, { compute = "f32", tokenizer = false, device = "cpu", mmap = mmap })
      m:forward { { 1, 2, 3 } }
      local read = bytes_read() - before
      if not mmap then t.ok(read >= stored * 0.95, ("%d bytes read of a file of %d"):format(read, stored)) end
      t.ok(read <= stored * (mmap and 0.1 or 1.05) + 2^18, ("%d bytes read of a file of %d"):format(read, stored))
    end)
  end
end

local folder_of = require "folder_of"

-- A Llama whose weights are a hole in a file: 42 layers of 8,192 hidden channels, 131 GiB of bf16.
local function hollow()
  local path = folder_of.llama(64)
  local hidden, ffn, layers, vocab = 8192, 57344, 42, 64
  local json = core.json(core.read_file(path .. "/config.json"))
  json.hidden_size, json.intermediate_size, json.num_hidden_layers, json.vocab_size = hidden, ffn, layers, vocab
  json.num_attention_heads, json.num_key_value_heads = 64, 64
  core.write_file(path .. "/config.json", core.write_json(json))
  local header, at = {}, 0
  local function add(name, ...)
    local bytes = 2
    for _, size in ipairs { ... } do bytes = bytes * size end
    header[#header + 1] = ('"%s":{"dtype":"BF16","shape":[%s],"data_offsets":[%.0f,%.0f]}'):format(name, table.concat({ ... }, ","), at, at + bytes)
    at = at + bytes
  end
  add("model.embed_tokens.weight", vocab, hidden)
  add("lm_head.weight", vocab, hidden)
  add("model.norm.weight", hidden)
  for i = 0, layers - 1 do
    local l = ("model.layers.%d."):format(i)
    for _, norm in ipairs { "input_layernorm", "post_attention_layernorm" } do add(l .. norm .. ".weight", hidden) end
    for _, name in ipairs { "q", "k", "v", "o" } do add(l .. "self_attn." .. name .. "_proj.weight", hidden, hidden) end
    for _, name in ipairs { "gate", "up" } do add(l .. "mlp." .. name .. "_proj.weight", ffn, hidden) end
    add(l .. "mlp.down_proj.weight", hidden, ffn)
  end
  local text = "{" .. table.concat(header, ",") .. "}"
  text = text .. (" "):rep(-#text % 8)
  local file = assert(io.open(path .. "/model.safetensors", "wb"))
  local length, prefix = #text, {}
  for i = 1, 8 do prefix[i], length = string.char(length % 256), math.floor(length / 256) end
  file:write(table.concat(prefix), text)
  local there = file:seek("set", 8 + #text + at - 1)
  if there then file:write "\0" end
  file:close()
  return path
end

t.test("a model larger than the memory is refused before it is read", function()
  local free = core.devices()[1].free
  if not free or free <= 0 or free > 120 * 2^30 then t.skip "this machine has more memory than the model needs, or does not say" end
  local path, read = hollow(), bytes_read() or 0
  local begun = pl.clock()
  local err = t.raises(function() pl.load(path, { compute = "f32", tokenizer = false, device = "cpu" }) end, "needs 13%d.%d GiB",
    "weights 13%d.%d GiB in f32", "cpu has [%d.]+ %a+ free", "allow_oversize")
  t.equal(err.code, "memory")
  t.ok(pl.clock() - begun < 20, "it took as long as reading")
  t.ok((bytes_read() or 0) - read < 2^24, "weights were read")
end)

t.test("a model's threads are its own", function()
  local before = core.threads()
  local a = pl.load("scripts/models/tales", { threads = 1, tokenizer = false, device = "cpu" })
  local b = pl.load("scripts/models/tales", { threads = 3, tokenizer = false, device = "cpu" })
  local c = pl.load("scripts/models/tales", { tokenizer = false, device = "cpu" })
  t.equal({ a.threads, b.threads, c.threads, core.threads() }, { 1, 3, before, before })
  local logits = {}
  for i, m in ipairs { a, b, c, a:eager(), b:eager() } do logits[i] = m:forward({ { 5, 6, 7 } }).logits end
  for i = 2, #logits do t.ok(logits[i]:equal(logits[1])) end
  t.raises_table(function() pl.load("scripts/models/tales", { threads = 100000 }) end, "threads must be from 1 to 1024")
end)

t.test("remove the folders", folder_of.remove_all)
