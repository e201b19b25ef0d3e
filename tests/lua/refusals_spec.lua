-- A GPU that refuses its k-th allocation, for every k of a run: loading raises an error about memory
-- or works; then every request ends, done or with an error; what is done has the bits of a run that
-- nothing disturbs; and the engine serves the next request.
-- The GPU is the one of tests/cuda/fake. PERILUNE_REFUSALS=all: every k of every model (default: of
-- one model, of loading a few and of what comes after it all).
local ffi = require "ffi"
local pl = require "perilune"
local t = require "spec"

local plugins = os.getenv "PERILUNE_PLUGINS"
if not plugins or not t.exists(plugins .. "/libperilune_cuda.so") then t.skip "no fake GPU: PERILUNE_PLUGINS does not name its folder" end

ffi.cdef [[
  typedef struct { int count; uint64_t capacity; bool too_old; bool fault; uint64_t allocated, pinned, streams, events;
    bool late_copies; double busy_seconds; } FakeGpus;
  FakeGpus* fake_gpus(void);
  void fake_gpu_refuse(int64_t first, int64_t count);
  int64_t fake_gpu_asked(void);
]]
local gpu = ffi.load(plugins .. "/libperilune_cuda.so")
local state = gpu.fake_gpus()

local all = os.getenv "PERILUNE_REFUSALS" == "all"
local models = all and { "llama-gqa", "mistral-window", "bart-plain", "bert-base" } or { "llama-gqa" }

local greedy = { max_new_tokens = 5, do_sample = false, num_beams = 1, eos_token_id = {} }
local writing = { { { 5, 6, 7, 8, 2 }, greedy }, { { 9, 10, 2 }, t.with(greedy, { do_sample = true, n = 2, seed = 3 }) },
  { { 11, 12, 13, 2 }, t.with(greedy, { num_beams = 2 }) }, { { 14, 15, 2 }, { kind = "forward" } } }
local reading = { { { 5, 6, 7, 8 }, { kind = "forward" } }, { { 9, 10 }, { kind = "forward" } } }

-- What a result says, plain.
local function plain(result)
  if result.outputs then
    local list = {}
    for name, value in pairs(result.outputs) do list[name] = value:to("cpu"):tolist() end
    return list
  end
  local list = {}
  for i, one in ipairs(result.sequences or { result }) do list[i] = one.ids end
  return list
end

local function load(name) return pl.load(t.golden(name), { device = "cuda", compute = "f32", tokenizer = false }) end

-- Steps until nothing is left: a refusal belongs to the requests it hits.
local function drain(engine, where)
  for _ = 1, 200 do
    if engine:idle() then return end
    local fine, err = pcall(engine.step, engine)
    if not fine then error(where .. ": a step raised " .. tostring(err), 0) end
  end
  error(where .. ": not done after 200 steps", 0)
end

-- Blocks that the device keeps for later go back when it has no memory left: the next run asks anew.
local large = pl.zeros({ 2 ^ 20 }, { axes = { "n" } })
local function give_back()
  local capacity = state.capacity
  state.capacity = state.allocated
  local there = pl.try(large.to, large, "cuda")
  state.capacity = capacity
  t.equal(there, nil)
end

-- One run whose k-th allocation is refused, and the retry after it. Returns the answers, in order.
local function run(name, k)
  local where = ("%s, allocation %d refused"):format(name, k)
  local requests = name:find "^bert" and reading or writing
  gpu.fake_gpu_refuse(k, k > 0 and 2 or 0)
  local m, err = pl.try(load, name)
  if not m then
    t.equal(err.code, "memory", where)
    gpu.fake_gpu_refuse(0, 0)
    m = load(name)
  end
  local loaded = tonumber(gpu.fake_gpu_asked())
  local engine, lines, answers = pl.engine(m), {}, {}
  for i, request in ipairs(requests) do
    lines[i], err = pl.try(engine.submit, engine, request[1], request[2])
    if not lines[i] then t.equal(err.code, "memory", where) end
  end
  drain(engine, where)
  local asked = tonumber(gpu.fake_gpu_asked())
  for i = 1, #requests do
    local result = lines[i] and lines[i]:result()
    if result and result.finish_reason ~= "error" then answers[i] = plain(result) end
    if result and result.finish_reason == "error" then t.ok(result.error:find "memory", where .. ": " .. result.error) end
  end
  local next_line = engine:submit(requests[1][1], requests[1][2])
  drain(engine, where)
  local after = plain(next_line:result())
  engine:close()
  m:close()
  collectgarbage()
  collectgarbage()
  gpu.fake_gpu_refuse(0, 0)
  give_back()
  return answers, after, asked, loaded
end

for _, name in ipairs(models) do
  t.test(name .. ": whichever allocation is refused, everyone ends and the engine goes on", function()
    local whole, first, asked, loaded = run(name, 0)
    t.ok(asked > loaded, ("no allocation after %d while loading"):format(loaded))
    local tried, hit, k = 0, 0, 1
    while k <= asked do
      local answers, after = run(name, k)
      for i = 1, #whole do
        if answers[i] then t.equal(answers[i], whole[i], ("%s, allocation %d: request %d"):format(name, k, i)) else hit = hit + 1 end
      end
      t.equal(after, first, ("%s, allocation %d: the request after"):format(name, k))
      tried = tried + 1
      k = k + ((all or k >= loaded) and 1 or math.min(10, loaded - k))
    end
    print(("  %d of %d allocations refused, %d requests ended with an error"):format(tried, asked, hit))
  end)
end

t.test("an estimate says what fits, and loading takes the weights it says", function()
  local capacity, folder = state.capacity, t.golden "llama-gqa"
  local estimate = pl.estimate(folder, { device = "cuda", compute = "f32" })
  t.equal(estimate.fits["cuda:0"], true)
  give_back()
  state.capacity = state.allocated + estimate.weights
  local small = pl.estimate(folder, { device = "cuda", compute = "f32" })
  state.capacity = capacity
  t.equal(small.fits["cuda:0"], false)
  local before = tonumber(state.allocated)
  local m = load "llama-gqa"
  m:forward { { 5, 6, 7 } }
  local taken = tonumber(state.allocated) - before
  t.ok(taken >= m:memory().weights, ("%d bytes taken, weights of %d"):format(taken, m:memory().weights))
  t.near(m:memory().weights / estimate.weights, 1, 0.05)
end)

t.test("a step's budget and a cancel do not wait for a device that is busy", function()
  local m = load "llama-gqa"
  local engine = pl.engine(m)
  local whole = plain(m:generate(writing[1][1], greedy))
  state.busy_seconds = 3600
  local line = engine:submit(writing[1][1], greedy)
  for _ = 1, 6 do engine:step { budget_ms = 20 } end
  t.ok(not engine:idle(), "the device is not done")
  line:cancel()
  for _ = 1, 100 do if not engine:idle() then engine:step { budget_ms = 20 } end end
  t.ok(engine:idle())
  t.equal(line:result().finish_reason, "cancelled")
  state.busy_seconds = 0.05
  local again = engine:submit(writing[1][1], greedy)
  while not engine:idle() do engine:step { budget_ms = 20 } end
  state.busy_seconds = 0
  t.equal(plain(again:result()), whole)
  engine:close()
  m:close()
end)
