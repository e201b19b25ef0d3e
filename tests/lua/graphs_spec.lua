-- Decode steps given to a device in one call: the same bits as piece by piece, made once, and the host
-- waits once a step.
local pl = require "perilune"
local t = require "spec"
local ffi = require "ffi"
ffi.cdef "int setenv(const char*, const char*, int); int unsetenv(const char*);"

local name = os.getenv "PERILUNE_TEST_DEVICE" or "emulator"
local m, reason = pl.try(pl.load, "tests/golden/llama-gqa", { device = name, compute = "f32" })
if not m then t.skip("device " .. name .. ": " .. tostring(reason)) end

local function counted(run)
  local before = t.device(m.device)
  local answers = run()
  local after, grown = t.device(m.device), {}
  for _, field in ipairs { "graph_starts", "graph_builds", "graph_updates", "copies_out" } do
    grown[field] = after[field] - before[field]
  end
  return answers, grown
end

-- Ids and log-probabilities.
local function served(prompts, options)
  local engine, requests = pl.engine(m), {}
  for i, prompt in ipairs(prompts) do requests[i] = engine:submit(prompt, options) end
  engine:drain()
  local answers = {}
  for i, request in ipairs(requests) do
    local result = request:result()
    answers[i] = { ids = result.ids, logprobs = result.logprobs }
  end
  return answers
end

local function without_graphs(run)
  ffi.C.setenv("PERILUNE_CUDA_GRAPHS", "off", 1)
  local answers, grown = counted(run)
  ffi.C.unsetenv "PERILUNE_CUDA_GRAPHS"
  return answers, grown
end

local function long(length)
  local ids = {}
  for i = 1, length do ids[i] = (i * 7) % 50 + 1 end
  return ids
end

local steps = 6
for what, case in pairs {
  ["one row"] = { prompts = { { 1, 7, 12, 9 } } },
  ["rows of several lengths"] = { prompts = { { 1, 7, 12, 9 }, { 1, 5 }, { 1, 4, 30, 2, 8, 11 } } },
  ["keys of another block"] = { prompts = { long(29) } },
} do
  t.test(what .. ": the bits of kernels that start one by one", function()
    local options = { max_new_tokens = steps, do_sample = true, seed = 3, logprobs = 0, min_new_tokens = steps }
    local function run() return served(case.prompts, options) end
    local here, grown = counted(run)
    local there, plain = without_graphs(run)
    t.equal(here, there)
    t.equal(plain.graph_starts, 0)
    t.ok(grown.graph_starts >= steps - 3, ("%d of %d steps in one call"):format(grown.graph_starts, steps))
    t.ok(grown.graph_builds <= 1, ("a graph was made %d times"):format(grown.graph_builds))
    t.ok(grown.graph_updates <= 4, ("%d updates"):format(grown.graph_updates))
    t.ok(grown.copies_out <= steps, ("the host waited %d times in %d steps"):format(grown.copies_out, steps))
  end)
end

t.test("forward after forward, with other values", function()
  local batches = { { { 1, 7, 12 } }, { { 2, 9, 30 } }, { { 4, 5, 6 } }, { { 1, 7, 12 } } }
  local logits = {}
  local _, grown = counted(function()
    for i, batch in ipairs(batches) do logits[i] = m:forward(batch).logits end
  end)
  t.ok(logits[1]:equal(logits[4]), "the same batch gave other bits")
  t.ok(not logits[1]:equal(logits[2]), "another batch gave the same bits")
  t.ok(grown.graph_starts >= 1, "no pass in one call")
end)
