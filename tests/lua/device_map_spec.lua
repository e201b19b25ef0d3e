-- Models over two devices: half of the layers on the CPU, half on the emulator (or the device that
-- PERILUNE_TEST_DEVICE names). Bits are those of each device alone where the two agree, else within 1e-4.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"
local folder_of = require "folder_of"

local there = os.getenv "PERILUNE_TEST_DEVICE" or "emulator"
local fine, reason = pl.try(core.device, there)
if not fine then t.skip("device " .. there .. ": " .. tostring(reason)) end
there = fine

local function load(name, o) return pl.load(t.golden(name), t.with({ compute = "f32", tokenizer = false }, o)) end

-- Where the rows of a model go: the first half here, the second there.
local halves = {
  ["llama-gqa"] = { ["layers.0"] = "cpu", ["layers.1-2"] = there, embeddings = "cpu", ["*"] = there },
  ["gpt2-plain"] = { ["layers.0*"] = there, ["*"] = "cpu", wte = there },
  ["mistral-window"] = { ["layers.0-1"] = there, ["*"] = "cpu" },
  ["gemma2-softcap"] = { ["layers.0-1"] = "cpu", ["layers.2-3"] = there, ["*"] = there },
  ["qwen3-qknorm"] = { ["layers.0"] = "cpu", ["layers.*.mlp"] = there, ["*"] = there },
  ["gpt_neox-parallel"] = { ["layers.1"] = there, ["*"] = "cpu" },
  ["bart-plain"] = { ["encoder.layers.0"] = "cpu", ["encoder.layers.1"] = there, ["decoder.layers.0"] = there, ["*"] = "cpu" },
  ["t5-relu-tied"] = { ["encoder.*"] = there, ["decoder.layers.1-2"] = there, ["*"] = "cpu" },
  ["bert-base"] = { ["layers.0"] = "cpu", ["layers.1"] = there, ["*"] = "cpu" },
  ["bert-sequence"] = { ["layers.0"] = there, logits = there, ["*"] = "cpu" },
}

local prompts = { { 5, 6, 7, 8, 2 }, { 9, 2 }, { 11, 44, 8, 3, 60, 61, 62, 63, 9, 10, 2 } }
local greedy = { max_new_tokens = 6, do_sample = false, num_beams = 1, eos_token_id = {}, logprobs = 0 }
local drawing = t.with(greedy, { do_sample = true, temperature = 0.8, top_k = 20, seed = 7, n = 2 })
local beams = { max_new_tokens = 4, do_sample = false, num_beams = 3, eos_token_id = {} }

local function writes(m) return m.head == "causal" or m.head == "seq2seq" end

-- Everything that a model answers, as lists of numbers: by value, and what was chosen.
local function answers(m)
  local numbers, chosen = {}, {}
  for name, value in pairs(m:forward(prompts)) do
    if type(value) ~= "table" and name ~= "batch" then numbers[name] = value:tolist() end
  end
  numbers.embedding = m:embed(prompts):tolist()
  local e = pl.engine(m)
  local lines = {}
  for i, prompt in ipairs(prompts) do lines[i] = e:submit(prompt, { kind = "forward" }) end
  local written = writes(m) and e:submit(prompts[1], greedy)
  e:drain()
  for i, line in ipairs(lines) do
    t.equal(line:result().error, nil)
    for name, value in pairs(line:result().outputs) do numbers[name .. i] = value:to("cpu"):tolist() end
  end
  if not writes(m) then return numbers, chosen end
  chosen.submitted = written:result().ids
  for i, result in ipairs(m:generate(prompts, greedy)) do chosen[i], numbers["logprobs" .. i] = result.ids, result.logprobs end
  local pieces = {}
  for _, event in m:stream(prompts[1], greedy) do pieces[#pieces + 1] = event.id end
  chosen.streamed = pieces
  for i, one in ipairs(m:generate(prompts[1], drawing).sequences) do chosen["drawn" .. i] = one.ids end
  for i, one in ipairs(m:generate(prompts[3], beams).sequences or {}) do chosen["beam" .. i] = one.ids end
  if m.head == "causal" then
    for i, row in ipairs(m:score(prompts)) do numbers["score" .. i] = row.token_logprobs end
  end
  return numbers, chosen
end

for name, map in pairs(halves) do
  t.test(name .. ": half on each device", function()
    local here, over = answers(load(name, { device = "cpu" })), answers(load(name, { device = there }))
    local m = load(name, { device_map = map })
    local by_device = m:memory().by_device
    t.ok(by_device.cpu > 0 and by_device[there] > 0, "both hold something")
    local numbers, chosen = answers(m)
    local _, expected = answers(load(name, { device = "cpu" }))
    t.equal(chosen, expected)
    for key, value in pairs(here) do
      t.near(numbers[key], value, 1e-4, key)
      t.near(numbers[key], over[key], 1e-4, key)
    end
    if pcall(t.equal, over, here) then t.equal(numbers, here, "bits, where the two agree") end
    -- Line by line, and while hooks look on: the bits of the compiled run.
    local whole = m:forward(prompts)
    local marks, seen = m:paths(), 0
    local hooks = { m:hook(marks[1], function() seen = seen + 1 end), m:hook(marks[#marks], function(x) seen = seen + 1 return x end) }
    local hooked = m:forward(prompts)
    for _, hook in ipairs(hooks) do hook:remove() end
    t.ok(seen >= 2)
    local eager = m:eager():forward(prompts)
    for key, value in pairs(whole) do
      if type(value) ~= "table" and key ~= "batch" then
        t.ok(value:equal(hooked[key]), key .. " with hooks")
        t.ok(value:equal(eager[key]), key .. " line by line")
      end
    end
    local path = marks[math.floor(#marks / 2)]
    t.ok(m:trace(prompts, { path })[path] ~= nil)
  end)
end

for _, name in ipairs { "llama-gqa", "mistral-window", "gpt2-plain" } do
  t.test(name .. ": caches over two devices fork, crop and come back from a file", function()
    local m = load(name, { device_map = halves[name] })
    local whole = m:forward({ prompts[3] }, { rows = "all" }).logits
    local function last(n) return whole:at { token = n } end
    local c = m:cache()
    m:forward({ { unpack(prompts[3], 1, 6) } }, { cache = c })
    local fork = c:fork()
    t.ok(m:forward({ { unpack(prompts[3], 7, 9) } }, { cache = c }).logits:at { batch = 1 }:equal(last(9)))
    m:forward({ { 90, 91 } }, { cache = fork })
    fork:crop(6)
    t.ok(m:forward({ { prompts[3][7] } }, { cache = fork }).logits:at { batch = 1 }:equal(last(7)))
    local path = os.tmpname()
    c:save(path)
    local again = pl.cache_load(path, m)
    t.ok(m:forward({ { prompts[3][10] } }, { cache = again }).logits:at { batch = 1 }:equal(last(10)))
    -- A file's pages go to each layer's own device, wherever it is now.
    for _, device in ipairs { "cpu", there } do
      local other = load(name, { device = device })
      local moved = pl.cache_load(path, other)
      t.equal(moved.length, 9)
      t.near(other:forward({ { prompts[3][10] } }, { cache = moved }).logits:at({ batch = 1 }):tolist(), last(10):tolist(), 1e-4, device)
    end
    local spread = load(name, { device_map = { ["layers.0"] = there, ["*"] = "cpu" } })
    t.near(spread:forward({ { prompts[3][10] } }, { cache = pl.cache_load(path, spread) }).logits:at({ batch = 1 }):tolist(), last(10):tolist(),
      1e-4)
    os.remove(path)
    local used = m:memory()
    t.ok(used.cache > 0)
    t.equal(c:bytes() + fork:bytes() + again:bytes() >= used.cache, true)
  end)
end

t.test("m.device_map says what is where, and why", function()
  local m = load("gpt2-plain", { device_map = { ["layers.0"] = there, ["layers.1.mlp"] = there, logits = there, ["*"] = "cpu" } })
  t.equal(t.with(m.device_map, {}), { embeddings = "cpu", ["layers.0"] = there, ["layers.1"] = "cpu", ["layers.1.mlp.c_fc"] = there,
    ["layers.1.mlp.c_proj"] = there, ["layers.2"] = "cpu", norm = "cpu", logits = there })
  local text = tostring(m.device_map)
  t.ok(text:find('device_map["layers.0"]', 1, true) and text:find('device_map["*"]', 1, true), text)
  t.ok(tostring(m):find(" + ", 1, true), tostring(m))
  local program = tostring(m:program())
  t.ok(program:find "transfer", program)
  local plain = load("gpt2-plain", { device = "cpu" })
  t.equal(t.with(plain.device_map, {}), { embeddings = "cpu", ["layers.0"] = "cpu", ["layers.1"] = "cpu", ["layers.2"] = "cpu",
    norm = "cpu", logits = "cpu" })
  t.ok(not tostring(plain:program()):find "transfer")
  local one = load("gpt2-plain", { device_map = { ["*"] = "cpu" } })
  t.equal(one:memory(), plain:memory())
end)

t.test("weights, keys and values lie with their layers", function()
  local plain = load("llama-gqa", { device = "cpu" })
  local m = load("llama-gqa", { device_map = { ["layers.1-2"] = there, ["*"] = "cpu" } })
  local c = m:cache()
  local before = m:memory().by_device
  m:forward({ prompts[1] }, { cache = c })
  local after = m:memory()
  t.equal(after.by_device[there] - before[there], 2 * (after.by_device.cpu - before.cpu), "two layers of three")
  t.equal(after.cache, c:bytes())
  t.equal(after.cache_per_token, plain:memory().cache_per_token)
end)

t.test("maps that cannot be meant", function()
  for _, case in ipairs {
    { { device_map = {} }, "empty" }, { { device_map = "auot" }, "auot", '"auto"' }, { { device_map = 7 }, "device_map" },
    { { device_map = { ["layer.0"] = "cpu", ["*"] = "cpu" } }, '"layer.0"', "layers.0" },
    { { device_map = { ["layers.7-9"] = "cpu", ["*"] = "cpu" } }, "layers.7-9" },
    { { device_map = { ["*"] = "gpu" } }, "gpu" }, { { device_map = { ["*"] = 1 } }, '["*"]' }, { { device_map = { "cpu" } }, "patterns" },
    { { max_memory = { cpu = "much" } }, "max_memory", "much" }, { { max_memory = { cpu = -1 } }, "max_memory" },
    { { max_memory = "20G" }, "max_memory" }, { { max_memory = { gpu = "1G" } }, "gpu" },
  } do
    t.raises_table(function() load("llama-gqa", case[1]) end, case[2], case[3] or "")
  end
end)

t.test("auto, sequential and balanced place by what parts take", function()
  local alone = load("gemma2-softcap", { device = "cpu" })
  local need = alone:memory()
  local whole = need.weights + need.workspace + math.min(2048, alone.max_tokens) * need.cache_per_token
  local function most(device)   -- each device has a workspace of its own
    return load("gemma2-softcap", { device = device }):memory().workspace + 0.75 * (whole - need.workspace)
  end
  local function placed(how, limits)
    local m = load("gemma2-softcap", { device_map = how, max_memory = limits })
    local on = {}
    for _, device in pairs(m.device_map) do on[device] = (on[device] or 0) + 1 end
    return on, m
  end
  local on = placed("auto", { cpu = 4 * whole, [there] = 4 * whole })
  t.equal(on, { [there] = 7 }, "one device whenever it fits, accelerators first")
  on = placed("auto", { cpu = 4 * whole, [there] = 1 })
  t.equal(on, { cpu = 7 }, "the next where it does not")
  local m
  on, m = placed("auto", { cpu = most "cpu", [there] = most(there) })
  t.ok(on.cpu and on[there], "both where neither holds it")
  t.equal(m.device_map.embeddings, there)
  t.equal(m.device_map.logits, "cpu")
  t.ok(tostring(m.device_map):find("of %d", 1, false))
  local _, expected = answers(load("gemma2-softcap", { device = "cpu" }))
  local _, chosen = answers(m)
  t.equal(chosen, expected)
  on = placed("balanced", { cpu = 4 * whole, [there] = 4 * whole })
  t.equal(on, { [there] = 7 }, "the CPU takes only what no accelerator does")
  local err = t.raises_table(function() placed("sequential", { cpu = 0.2 * whole, [there] = 0.2 * whole }) end, "does not fit", "cpu needs", "max_memory",
    "allow_oversize")
  t.equal(err.code, "memory")
  err = t.raises_table(function() load("gemma2-softcap", { device = "cpu", max_memory = { cpu = 1000 } }) end, "cpu has 1000 B of max_memory")
  t.equal(err.code, "memory")
end)

t.test("what a device cannot run is an error when the model is loaded, and a map is a remedy", function()
  local config = core.read_file("tests/golden/llama-gqa/config.json"):gsub('"head_dim": 8', '"head_dim": 264')
  local file, tensors = pl.open "tests/golden/llama-gqa/model.safetensors", {}
  for _, name in ipairs(file.names) do
    local old = file.tensor(name)
    local part = name:match "self_attn%.(.)_proj%.weight"
    local rows, columns = old.shape[1].size, part and old.shape[2].size
    if part == "o" then columns = columns * 33 elseif part then rows = rows * 33 end
    tensors[name] = part and pl.random({ rows, columns }, { seed = 1, axes = { "out", "in" } }) * 0.05 or old
  end
  local folder = folder_of.copy("tests/golden/llama-gqa", { ["model.safetensors"] = false, ["config.json"] = config })
  pl.save(folder .. "/model.safetensors", tensors)
  local err = t.raises_table(function() pl.load(folder, { device = there, tokenizer = false }) end, there, "head_dim is 264", "layers.0", "cpu", "device_map")
  t.equal(err.code, "unsupported")
  t.equal(err.op, "kv_write")
  local m = pl.load(folder, { device = there, device_map = { ["layers.*"] = "cpu" }, tokenizer = false })
  t.equal(m.device_map.embeddings, there)
  t.equal(m:generate(prompts[1], greedy).ids, pl.load(folder, { device = "cpu", tokenizer = false }):generate(prompts[1], greedy).ids)
end)

t.test("remove the folders", folder_of.remove_all)
