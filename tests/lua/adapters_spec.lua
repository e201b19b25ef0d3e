-- LoRA adapters beside a model's weights: what peft answers (tests/judges/adapters.py), each row to the bit what it is
-- alone, rows with different ones and without in one batch, and nothing shared between them.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"

local function read(path) return assert(io.open(path, "rb")):read "*a" end
local function folder(case) return "tests/adapters/" .. case end
local cases = core.list_directory "tests/adapters"
local function load(name, adapters, more)
  return pl.load(t.golden(name), t.with({ compute = "f32", threads = 1, tokenizer = false, device = "cpu", adapters = adapters }, more or {}))
end
local greedy = { max_new_tokens = 6, do_sample = false, eos_token_id = {}, logprobs = 2 }
local function answer(r) return { r.ids, r.logprobs, r.top_logprobs, r.finish_reason, r.error } end

local function logits(m, rows, adapter)
  if m.family ~= "t5" then return m:forward(rows, { adapter = adapter }).logits end
  local out, ends = m:forward(rows, { adapter = adapter, decoder = { 0, 5, 9 }, rows = "last" }).logits, nil
  return out, ends
end

for _, case in ipairs(cases) do
  t.test(case .. ": what peft answers, alone and in a batch with rows of other adapters", function()
    local expected = pl.json.decode(read(folder(case) .. "/expected.json"))
    local m = load(expected.base, { [case] = folder(case) })
    t.equal(#m.adapters, 1)
    t.equal({ m.adapters[1].name, m.adapters[1].path }, { case, folder(case) })
    local plain = logits(load(expected.base), expected.rows)
    t.ok(logits(m, expected.rows):equal(plain), "without an adapter")
    local with = logits(m, expected.rows, case)
    t.near(with:tolist(), expected.after, 1e-5)
    t.ok(not with:equal(plain))
    local one, other = expected.rows[1], expected.rows[2]
    local mixed = logits(m, { other, one, other, one }, { case, false, false, case })
    local function row(x, i) return x:at { batch = i } end
    t.ok(row(mixed, 1):equal(row(with, 2)) and row(mixed, 2):equal(row(plain, 1)), "in a batch")
    t.ok(row(mixed, 3):equal(row(plain, 2)) and row(mixed, 4):equal(row(with, 1)), "in a batch")
    t.ok(row(logits(m, { one }, case), 1):equal(row(with, 1)), "alone")
    t.ok(logits(m:eager(), expected.rows, case):equal(with), "line by line")
    t.ok(m:memory().weights > load(expected.base):memory().weights)
    m:close()
  end)
end

local many = { list = folder "llama-list", regex = folder "llama-regex", patterns = folder "llama-patterns", whole = folder "llama-whole-head" }

t.test("several at once in one list, one engine and one stream, each as alone; threads, chunks and policies change nothing", function()
  local names = { "list", false, "regex", "patterns", "whole" }
  for _, more in ipairs { {}, { threads = 2 }, { cache = "bf16" }, { cache = "int8" } } do
    local m, prompts, alone = load("llama-gqa", many, more), {}, {}
    for i = 1, 10 do
      local ids = {}
      for k = 1, 3 + i * 7 % 40 do ids[k] = (i * 5 + k * 11) % 300 + 3 end
      prompts[i] = t.with(greedy, { ids = ids, adapter = names[i % #names + 1] })
      alone[i] = answer(m:generate(prompts[i], { reuse = false }))
    end
    for i, r in ipairs(m:generate(prompts)) do t.equal(answer(r), alone[i]) end
    for _, policy in ipairs { pl.policy.fifo(), pl.policy.padded { rows = 4 }, pl.policy.token_budget(9) } do
      local e, lines = pl.engine(m, { policy = policy }), {}
      for i, p in ipairs(prompts) do lines[i] = e:submit(p) end
      e:drain()
      for i, line in ipairs(lines) do t.equal(answer(line:result()), alone[i]) end
    end
    local s = m:stream(prompts[1])
    for _ in s do end
    t.equal(answer(s:result()), alone[1])
    m:close()
  end
end)

t.test("embeddings: a table of its own, low rank beside it, or none; each row as alone, and as with merged tables", function()
  local own = { low = folder "llama-embedding", whole = folder "llama-whole-embedding", none = folder "llama-list" }
  for _, more in ipairs { {}, { threads = 2 }, { compute = "bf16" }, { compute = "f32", cache = "int8" } } do
    local m, prompts, alone = load("llama-gqa", own, more), {}, {}
    local names = { "low", false, "whole", "none" }
    for i = 1, 9 do
      local ids = {}
      for k = 1, 2 + i * 5 % 30 do ids[k] = (i * 5 + k * 11) % 300 + 3 end
      prompts[i] = t.with(greedy, { ids = ids, adapter = names[i % #names + 1] })
      alone[i] = answer(m:generate(prompts[i], { reuse = false }))
    end
    for i, r in ipairs(m:generate(prompts, { policy = pl.policy.token_budget(9) })) do t.equal(answer(r), alone[i]) end
    m:close()
  end
  -- By hand: the table that the adapter's columns were added to.
  local m = load("llama-gqa", own)
  local merged = load("llama-gqa")
  local file = core.open_tensors(folder "llama-embedding" .. "/adapter_model.safetensors")
  local at = "base_model.model.model.embed_tokens.lora_embedding_"
  local a, b = file:tensor(at .. "A", { "rank", "vocab" }), file:tensor(at .. "B", { "hidden", "rank" })
  local tuned = merged:weight "embed_tokens" + a:order("vocab", "rank"):matmul(b, { over = "rank" }) * (5 / 3)
  local embedded = m:trace({ { 5, 17, 33 } }, "embeddings", { adapter = "low" })["embeddings"]
  for i, id in ipairs { 5, 17, 33 } do t.near(embedded:at { token = i }:tolist(), tuned:at { vocab = id }:tolist(), 1e-5) end
end)

t.test("pages are shared among the requests of one adapter alone", function()
  local m, ids = load("llama-gqa", many), {}
  for k = 1, 130 do ids[k] = k % 90 + 5 end
  for _, name in ipairs { false, "list", "regex" } do
    local own = t.with(greedy, { adapter = name })
    t.equal(m:generate(ids, own).reused_tokens, 0)
    local again = m:generate(ids, own)
    t.equal(again.reused_tokens, 129)
    t.equal(answer(again), answer(m:generate(ids, t.with(own, { reuse = false }))))
  end
end)

t.test("a cache belongs to the adapter that filled it, saved and loaded too", function()
  local m, ids = load("llama-gqa", many), { 5, 6, 7, 8, 9, 10, 11 }
  local whole = m:forward({ { 5, 6, 7, 8, 9, 10, 11, 12 } }, { adapter = "list" }).logits
  local c = m:cache()
  m:forward({ ids }, { cache = c, adapter = "list" })
  t.raises_text(function() m:forward({ { 12 } }, { cache = c }) end, "adapter list", "no adapter", "empty cache")
  t.raises_text(function() m:generate({ ids = { 12 } }, { cache = c, adapter = "regex" }) end, "adapter list", "adapter regex")
  local path = os.tmpname()
  c:save(path)
  t.ok(m:forward({ { 12 } }, { cache = c:fork(), adapter = "list" }).logits:equal(whole))
  local again = pl.cache_load(path, m)
  t.ok(m:forward({ { 12 } }, { cache = again, adapter = "list" }).logits:equal(whole))
  t.raises_text(function() m:forward({ { 12 } }, { cache = again }) end, "adapter list")
  os.remove(path)
  t.equal(m:forward({ { 12 } }, { cache = c:crop(0) }).batch.size, 1)   -- empty: anyone's
end)

t.test("beams, drawn tokens, guesses, sliding contexts and hooks go through the adapter", function()
  local m = load("llama-gqa", many)
  local ids = { 40, 41, 42, 40, 41, 42, 40, 41 }
  for _, o in ipairs { { num_beams = 3 }, { n = 3, do_sample = true, seed = 3, temperature = 1.2 } } do
    local own = t.with({ max_new_tokens = 8, eos_token_id = {} }, o)
    local function all(r)
      local list = {}
      for i, s in ipairs(r.sequences or { r }) do list[i] = s.ids end
      return list
    end
    local alone = all(m:generate({ ids = ids, adapter = "list" }, own))
    t.differ(alone, all(m:generate({ ids = ids }, own)))
    local both = m:generate({ { ids = ids }, { ids = ids, adapter = "list" }, { ids = ids, adapter = "regex" } }, own)
    t.equal(all(both[2]), alone)
  end
  local own = t.with(greedy, { adapter = "list", max_new_tokens = 30 })
  local alone = answer(m:generate(ids, own))
  t.equal(answer(m:generate(ids, t.with(own, { prompt_lookup_num_tokens = 5 }))), alone)
  t.equal(answer(m:generate(ids, t.with(own, { draft = load "llama-gqa", draft_tokens = 3 }))), alone)
  t.equal(answer(m:generate(ids, t.with(own, { use_cache = false }))), alone)
  local handle = m:hook("layers.0", function(x) return x end)
  t.equal(answer(m:generate(ids, own)), alone)
  handle:remove()
end)

t.test("embed, score, trace and other heads take one; an encoder-decoder's source and answer go through it", function()
  local m = load("llama-gqa", many)
  local s = m:score({ { 5, 6, 7, 8 } }, { adapter = "list" })[1]
  local own = m:forward({ { 5, 6, 7, 8 } }, { adapter = "list", rows = "all" }).logits:log_softmax "vocab"
  t.equal(s.token_logprobs[3], own:at { token = 3, vocab = 8 }:item())
  t.ok(not m:embed({ { 5, 6 } }, { adapter = "list" }):equal(m:embed { { 5, 6 } }))
  t.ok(not m:trace({ { 5, 6 } }, "layers.2", { adapter = "list" })["layers.2"]:equal(m:trace({ { 5, 6 } }, "layers.2")["layers.2"]))
  local bert = load("bert-sequence", { sentiment = folder "bert-whole" })
  local e = pl.engine(bert)
  local with, without = e:submit({ { 5, 17, 33 } }, { adapter = "sentiment" }), e:submit { { 5, 17, 33 } }
  e:drain()
  t.ok(with:result().outputs.logits:equal(bert:forward({ { 5, 17, 33 } }, { adapter = "sentiment" }).logits))
  t.ok(without:result().outputs.logits:equal(bert:forward({ { 5, 17, 33 } }).logits))
  local t5 = load("t5-relu-tied", { folder "t5-both" })
  local both = t5:generate({ { ids = { 5, 6, 7 }, adapter = "t5-both" }, { ids = { 5, 6, 7 } } }, greedy)
  t.equal(answer(both[1]), answer(t5:generate({ ids = { 5, 6, 7 } }, t.with(greedy, { adapter = "t5-both" }))))
  t.differ(answer(both[1]), answer(both[2]))
end)

t.test("weights of few bits and other devices take them; a quantized copy keeps them", function()
  local m = load("llama-gqa", many)
  local rows = { { 5, 6, 7 } }
  for kind, tolerance in pairs { ["int8-weight"] = 0.2, q4_0 = 2 } do
    for _, compute in ipairs { "f32", "int8" } do
      local q = m:quantize(kind, { compute = compute })
      t.equal(#q.adapters, 4)
      local with = q:forward(rows, { adapter = "list" }).logits
      t.ok(not with:equal(q:forward(rows).logits))
      t.near(with:tolist(), m:forward(rows, { adapter = "list" }).logits:tolist(), tolerance)
      t.ok(q:forward({ rows[1], rows[1] }, { adapter = { false, "list" } }).logits:at { batch = 2 }:equal(with:at { batch = 1 }))
    end
  end
end)

t.test("the kernels of a GPU take them", function()
  local m, rows = load("llama-gqa", many), { { 5, 6, 7 } }
  local emulator, why = pl.try(load, "llama-gqa", many, { device = "emulator" })
  if not emulator then t.skip("device emulator: " .. tostring(why)) end
  for _, name in ipairs { "list", "whole" } do
    t.near(emulator:forward(rows, { adapter = name }).logits:tolist(), m:forward(rows, { adapter = name }).logits:tolist(), 1e-4)
  end
  local mixed = emulator:forward({ rows[1], rows[1] }, { adapter = { false, "list" } }).logits
  t.ok(mixed:at { batch = 2 }:equal(emulator:forward(rows, { adapter = "list" }).logits:at { batch = 1 }))
end)

-- A copy of an adapter with keys of its configuration changed.
local function changed(case, keys)
  local path = os.tmpname()
  os.remove(path)
  pl.files.make_folder(path)
  local config = pl.json.decode(read(folder(case) .. "/adapter_config.json"))
  for key, value in pairs(keys) do config[key] = value end
  for name, text in pairs { ["adapter_config.json"] = pl.json.encode(config), ["adapter_model.safetensors"] = read(folder(case) .. "/adapter_model.safetensors") } do
    local file = assert(io.open(path .. "/" .. name, "wb"))
    file:write(text)
    file:close()
  end
  return path
end

t.test("what is not run is refused with its reason, what is unknown with the nearest", function()
  for _, row in ipairs { { { use_dora = true }, "DoRA" }, { { peft_type = "IA3" }, "IA3" }, { { init_lora_weights = "pissa" }, "pissa" },
    { { layer_replication = { { 0, 1 } } }, "layer_replication" }, { { r = 7 }, "rank 4" }, { { trainable_token_indices = { 1 } }, "embedding" } } do
    local path = changed("llama-list", row[1])
    t.raises_text(function() load("llama-gqa", { path }) end, row[2], path)
    pl.files.remove(path .. "/adapter_config.json")
    pl.files.remove(path .. "/adapter_model.safetensors")
    pl.files.remove(path)
  end
  local embed = "base_model.model.model.embed_tokens."
  local rows = load("llama-gqa"):weight "embed_tokens"
  for key, said in pairs { lora_embedding_A = "one of lora_A and lora_B", weight = "changes nothing" } do
    local path = changed("llama-list", {})
    pl.save(path .. "/adapter_model.safetensors", { [embed .. key] = rows:copy() })
    t.raises_text(function() load("llama-gqa", { path }) end, said)
    for _, name in ipairs { "/adapter_config.json", "/adapter_model.safetensors", "" } do pl.files.remove(path .. name) end
  end
  t.raises_text(function() load("llama-gqa", { folder "gpt2-fused" }) end, "no layer of this model", "another model")
  t.raises_text(function() load("qwen2-bias", { folder "llama-list" }) end, "has 96 inputs", "another model")
  t.raises_text(function() load("llama-gqa", { "tests/golden/llama-gqa" }) end, "adapter_config.json")
  t.raises_text(function() load("llama-gqa", { x = folder "llama-list", y = 3 }) end, "expected folders")
  t.raises_text(function() load("llama-gqa", { folder "llama-list", folder "llama-list" }) end, "two are called")
  local m = load("llama-gqa", many)
  local raised = t.raises_table(function() m:generate({ 5 }, { adapter = "lst" }) end, "no adapter", "lst")
  t.ok(raised.hint:find "list", raised.hint)
  t.raises_text(function() m:forward({ { 5 } }, { adapter = { "list", "list" } }) end, "2 names for 1 rows")
  t.raises_text(function() load("llama-gqa"):forward({ { 5 } }, { adapter = "list" }) end, "no adapter", "adapters = {")
end)
