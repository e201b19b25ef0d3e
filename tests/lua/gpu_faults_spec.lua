-- A GPU on which a kernel fails after it was started, as the k-th call after loading tells: every request
-- ends, in an error that names the GPU where it was not done before; no step raises; the engine, other
-- GPUs and the CPU stay usable, the GPU says that it is lost, and the caller's own GPU stays selected.
-- And what a GPU's memory leaves for keys and values. The GPUs are those of tests/cuda/fake.
local ffi = require "ffi"
local pl = require "perilune"
local t = require "spec"
local pass_runner = require "perilune.loaded.pass_runner"

local plugins = os.getenv "PERILUNE_PLUGINS"
if not plugins or not t.exists(plugins .. "/libperilune_cuda.so") then t.skip "no fake GPU: PERILUNE_PLUGINS does not name its folder" end

ffi.cdef [[
  typedef struct { int count; uint64_t capacity; bool too_old; bool fault; uint64_t allocated, pinned, streams, events;
    bool late_copies; double busy_seconds; int selected; } FakeGpus;
  FakeGpus* fake_gpus(void);
  void fake_gpu_fault(int index, int64_t call);
  int64_t fake_gpu_calls(void);
]]
local gpu = ffi.load(plugins .. "/libperilune_cuda.so")
local state = gpu.fake_gpus()
state.count = 100   -- one is lost by every trial

local greedy = { max_new_tokens = 5, do_sample = false, num_beams = 1, eos_token_id = {} }
local writing = { { { 5, 6, 7, 8, 2 }, greedy }, { { 9, 10, 2 }, t.with(greedy, { do_sample = true, n = 2, seed = 3 }) },
  { { 11, 12, 13, 2 }, t.with(greedy, { num_beams = 2 }) }, { { 14, 15, 2 }, { kind = "forward" } } }
local reading = { { { 5, 6, 7, 8 }, { kind = "forward" } }, { { 9, 10 }, { kind = "forward" } } }

local next_gpu = 0
local function fresh_gpu()
  next_gpu = next_gpu + 1
  return next_gpu, "cuda:" .. next_gpu
end

local function load(name, device) return pl.load(t.golden(name), { device = device, compute = "f32", tokenizer = false }) end

local function submit_all(engine, name)
  local lines = {}
  for i, request in ipairs(name:find "^bert" and reading or writing) do lines[i] = engine:submit(request[1], request[2]) end
  return lines
end

local function drain(engine, where)
  for _ = 1, 200 do
    if engine:idle() then return end
    local fine, err = pcall(engine.step, engine)
    t.ok(fine, where .. ": a step raised " .. tostring(err))
  end
  t.ok(false, where .. ": not done after 200 steps")
end

local function lost(text, device) return text:find(device, 1, true) and text:find("illegal memory access", 1, true) end

-- One run whose k-th call after loading tells of the fault. Gives how many requests it ended.
local function run(name, k)
  local index, device = fresh_gpu()
  local where = ("%s, call %d"):format(name, k)
  local m = load(name, device)
  local engine = pl.engine(m)
  state.selected = 0   -- a host's own
  gpu.fake_gpu_fault(index, k)
  local lines, failed = submit_all(engine, name), 0
  drain(engine, where)
  t.equal(state.selected, 0, where .. ": the caller's GPU")
  for i, line in ipairs(lines) do
    local result = line:result()
    if result.finish_reason == "error" then
      failed = failed + 1
      t.ok(lost(result.error, device), ("%s, request %d: %s"):format(where, i, result.error))
    end
  end
  if k == 0 then
    engine:close()
    return failed, tonumber(gpu.fake_gpu_calls())
  end
  local health = pl.health()
  t.equal(health.ok, false, where)
  for _, one in ipairs(health.devices) do
    if one.name == device then t.ok(lost(device .. (one.error or ""), device), where .. ": " .. tostring(one.error)) end
    if one.name == "cpu" then t.equal(one.error, nil) end
  end
  -- What comes after it is told as well, and raises nothing in a step.
  local line, err = pl.try(engine.submit, engine, { 5, 6, 2 }, { kind = "forward" })
  if line then
    drain(engine, where)
    t.equal(line:result().finish_reason, "error", where)
    err = line:result().error
  end
  t.ok(lost(tostring(err), device), where .. ": " .. tostring(err))
  engine:close()
  m:close()
  t.equal(state.selected, 0, where .. ": the caller's GPU at the end")
  return failed
end

for _, name in ipairs { "llama-gqa", "bart-plain", "bert-base" } do
  t.test(name .. ": whichever call tells of a kernel's fault, every request ends", function()
    local _, calls = run(name, 0)
    local step, hit, tried = math.max(1, math.floor(calls / 8)), 0, 0
    for k = 1, calls, step do hit, tried = hit + run(name, k), tried + 1 end
    t.ok(hit >= tried, ("%d requests ended of %d faults"):format(hit, tried))
    -- Another GPU and the CPU answer as ever.
    local _, other = fresh_gpu()
    gpu.fake_gpu_fault(-1, 0)
    local a, b = load(name, other):forward { { 5, 6, 7, 2 } }, load(name, "cpu"):forward { { 5, 6, 7, 2 } }
    for key, value in pairs(b) do
      if type(value) ~= "table" and key ~= "batch" then t.near(a[key]:tolist(), value:tolist(), 1e-4) end
    end
  end)
end

t.test("a fault while a model over two devices runs ends its requests", function()
  local index, device = fresh_gpu()
  local m = pl.load(t.golden "llama-gqa", { device_map = { ["layers.1"] = device, ["*"] = "cpu" }, compute = "f32", tokenizer = false })
  local engine = pl.engine(m)
  gpu.fake_gpu_fault(index, 5)
  local lines = submit_all(engine, "llama-gqa")
  drain(engine, "two devices")
  for _, line in ipairs(lines) do
    t.equal(line:result().finish_reason, "error")
    t.ok(lost(line:result().error, device), line:result().error)
  end
end)

t.test("keys and values get what a GPU has left beside weights and a step's workspace", function()
  local _, device = fresh_gpu()
  local m = load("llama-gqa", device)
  local s = rawget(m, "state_")
  local free = pass_runner.device(device).free
  local workspace = pass_runner.needs(s, 512, 16).workspace
  t.ok(workspace > 0)
  t.equal(pass_runner.pool(s).budget, math.floor((free - workspace) / 10) * 9)
  -- Half of a model: its share of a page set says what the device's part may be.
  local _, other = fresh_gpu()
  local half = pl.load(t.golden "llama-gqa", { device_map = { ["layers.1-2"] = other, ["*"] = "cpu" }, compute = "f32", tokenizer = false })
  s, free = rawget(half, "state_"), pass_runner.device(other).free
  local lent = math.floor((free - pass_runner.needs(s, 512, 16, other).workspace) / 10) * 9
  t.equal(pass_runner.pool(s).budget, math.floor(lent * 3 / 2))
  -- max_memory bounds it.
  local _, third = fresh_gpu()
  local bounded = pl.load(t.golden "llama-gqa", { device = third, max_memory = { [third] = "4M" }, compute = "f32", tokenizer = false })
  s = rawget(bounded, "state_")
  local needed = pass_runner.needs(s, 512, 16)
  t.equal(pass_runner.pool(s).budget, 4 * 2 ^ 20 - needed.weights - needed.workspace)
end)

t.test("a page that a GPU refuses is a memory error in the device's words", function()
  local _, device = fresh_gpu()
  local m, capacity = load("llama-gqa", device), state.capacity
  m:forward { { 5, 6, 7 } }
  local engine = pl.engine(m, { memory = 2 ^ 24 })
  local ids = {}
  for i = 1, 200 do ids[i] = 5 + i end
  state.capacity = state.allocated
  local line = pl.try(engine.submit, engine, ids, greedy)
  pcall(drain, engine, "no pages")
  state.capacity = capacity
  local result = line:result()
  t.equal(result.finish_reason, "error")
  t.ok(result.error:find("memory", 1, true) and result.error:find("bytes asked", 1, true), result.error)
  local again = engine:submit(ids, greedy)
  drain(engine, "with memory again")
  t.equal(#again:result().ids, 5)
end)

for _, name in ipairs { "llama-gqa", "gpt2-plain", "mistral-window", "bart-plain", "bert-base" } do
  t.test(name .. ": over two GPUs, the bits of one", function()
    local _, first = fresh_gpu()
    local _, second = fresh_gpu()
    local function plain(m)
      local list = {}
      for key, value in pairs(m:forward { { 5, 6, 7, 8, 2 }, { 9, 10, 2 } }) do
        if type(value) ~= "table" and key ~= "batch" then list[key] = value:tolist() end
      end
      if not name:find "^bert" then
        for i, request in ipairs { writing[1], writing[2], writing[3] } do
          local result = m:generate(request[1], t.with(request[2], { logprobs = request[2].num_beams == 1 and 0 or nil }))
          for j, one in ipairs(result.sequences or { result }) do list["text" .. i .. "." .. j] = one.ids end
          list["logprobs" .. i] = result.logprobs
        end
      end
      return list
    end
    local one = load(name, first)
    local map = { ["*"] = first }
    for path in pairs(one.device_map) do
      if path:find "layers%.[1-9]" then map[path] = second end
    end
    local two = pl.load(t.golden(name), { device_map = map, compute = "f32", tokenizer = false })
    t.ok(two:memory().by_device[second] > 0)
    t.equal(plain(two), plain(one))
  end)
end
