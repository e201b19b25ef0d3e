-- Models and tensors on another device: the emulator, or the one PERILUNE_TEST_DEVICE names. What it
-- computes is held against the CPU, by value; against itself, bit for bit.
local pl = require "perilune"
local t = require "spec"

local name = os.getenv "PERILUNE_TEST_DEVICE" or "emulator"
local here, reason = pl.try(pl.load, "tests/golden/llama-gqa", { device = name, compute = "f32" })
if not here then t.skip("device " .. name .. ": " .. tostring(reason)) end

local prompts = { { 1, 7, 12, 9, 30, 4 }, { 1, 5 }, { 1, 44, 8, 3, 60, 61, 62, 63, 9, 10, 11 } }

-- A prompt's logits over all positions.
local function numbers(m, prompt) return m:forward({ prompt }, { rows = "all" }).logits:tolist() end

-- The largest difference, as a share of the spread.
local function off(a, b)
  local most, low, high = 0, math.huge, -math.huge
  for i, row in ipairs(a) do
    for j, x in ipairs(row) do
      most, low, high = math.max(most, math.abs(x - b[i][j])), math.min(low, x), math.max(high, x)
    end
  end
  return most / (high - low)
end

local function launches()
  for _, device in ipairs(pl.devices()) do
    if device.name == here.device then return device.launches end
  end
end

t.test("a model runs there, and says so", function()
  t.equal(here.device:match "^%a+", name:match "^%a+")
  local before = launches()
  here:forward(prompts)
  t.ok(launches() > before, "no kernel was started")
  t.ok(here:memory().by_device[here.device] > 0)
  t.equal(pl.health().ok, true)
end)

for _, case in ipairs {
  { "llama-gqa", "f32", 1e-5 }, { "llama-gqa", "bf16", 2e-2 }, { "llama-rope3-bf16", "f32", 1e-5 },
  { "llama-rope3-bf16", "bf16", 2e-2 },
} do
  local model, compute, tolerance = case[1], case[2], case[3]
  t.test(model .. " in " .. compute .. ": forward as on the CPU", function()
    local cpu = pl.load("tests/golden/" .. model, { device = "cpu", compute = compute })
    local there = pl.load("tests/golden/" .. model, { device = name, compute = compute })
    for _, prompt in ipairs(prompts) do
      local difference = off(numbers(cpu, prompt), numbers(there, prompt))
      t.ok(difference <= tolerance, ("differs by %g of the spread"):format(difference))
    end
  end)

  t.test(model .. " in " .. compute .. ": neighbours change no bit", function()
    local m = pl.load("tests/golden/" .. model, { device = name, compute = compute })
    local all = m:generate(prompts, { max_new_tokens = 6, logprobs = 0 })
    for i, prompt in ipairs(prompts) do
      local alone = m:generate(prompt, { max_new_tokens = 6, logprobs = 0 })
      t.equal(all[i].ids, alone.ids)
      t.equal(all[i].logprobs, alone.logprobs)
    end
  end)
end

t.test("greedy text is the CPU's", function()
  local cpu = pl.load("tests/golden/llama-gqa", { device = "cpu", compute = "f32" })
  for _, prompt in ipairs(prompts) do
    t.equal(here:generate(prompt, { max_new_tokens = 12 }).ids, cpu:generate(prompt, { max_new_tokens = 12 }).ids)
  end
end)

t.test("a policy in Lua decides there too, on a ragged batch", function()
  local seen, fifo = 0, pl.policy.fifo()
  local e = pl.engine(here, { policy = function(queue, room)
    seen = seen + 1
    return fifo.plan(queue, room)
  end })
  local requests = {}
  for i, prompt in ipairs(prompts) do requests[i] = e:submit { prompt = prompt, max_new_tokens = 4 } end
  e:drain()
  for i, prompt in ipairs(prompts) do
    t.equal(requests[i]:result().ids, here:generate(prompt, { max_new_tokens = 4 }).ids)
  end
  t.ok(seen > 1, "the policy was not asked")
  e:close()
end)

t.test("line by line gives the compiled pass's bits", function()
  local eager = here:eager()
  t.equal(numbers(here, prompts[3]), numbers(eager, prompts[3]))
end)

t.test("tensors go there and back", function()
  local x = pl.tensor({ { 1, 2, 3 }, { 4, 5, 6 } }, { axes = { "row", "column" } })
  local y = x:to(name)
  t.equal(y.device, here.device)
  t.equal(y:tolist(), x:tolist())
  t.equal((y * y + 1):tolist(), (x * x + 1):tolist())
  t.equal((y * y + 1).device, here.device)
  t.equal(y:sum(), 21)
  t.equal(y:to "cpu".device, "cpu")
  t.ok(tostring(y):find(here.device, 1, true), tostring(y))
  t.equal(y:at { row = 2 }:tolist(), { 4, 5, 6 })
end)

t.test("operands on two devices are an error that names both", function()
  local x = pl.tensor({ 1, 2 }, { axes = { "n" } })
  local ok, err = pcall(function() return x + x:to(name) end)
  t.equal(ok, false)
  t.ok(tostring(err):find("cpu", 1, true) and tostring(err):find(here.device, 1, true), tostring(err))
end)

t.test("an unknown device is an error", function()
  local _, err = pl.try(pl.load, "tests/golden/llama-gqa", { device = "gpu" })
  t.equal(err.code, "option")
  t.ok(tostring(err):find('"gpu"', 1, true))
end)

t.test("without a GPU device=\"cuda\" says what was looked for, and auto falls back", function()
  local m, err = pl.try(pl.load, "tests/golden/llama-gqa", { device = "cuda" })
  if m then t.skip "a GPU is here" end
  t.equal(err.code, "device")
  t.ok(tostring(err):find("cuda", 1, true))
  t.equal(pl.load("tests/golden/llama-gqa", { device = "auto" }).device, "cpu")
end)

-- Random batches: sizes, orders, prompts in pieces, a prompt that joins late. Every answer, bit for
-- bit, is the one its prompt gets alone.
local compositions = tonumber(os.getenv "PERILUNE_COMPOSITIONS") or 200
local state = 4711 + (tonumber(os.getenv "PERILUNE_SEED") or 0)
local function random(n)
  state = (state * 16807) % 2147483647
  return state % n + 1
end

for _, case in ipairs { { "llama-gqa", "f32" }, { "llama-rope3-bf16", "bf16" } } do
  t.test(("%d random batches of %s in %s change no bit"):format(compositions / 2, case[1], case[2]), function()
    local m = pl.load("tests/golden/" .. case[1], { device = name, compute = case[2] })
    local options = { max_new_tokens = 3, do_sample = true, temperature = 0.9, seed = 5, logprobs = 0, eos_token_id = {} }
    local work, alone = {}, {}
    for i, length in ipairs { 1, 2, 5, 8, 9, 17, 31, 32, 33, 40, 65 } do
      work[i] = { 1 }
      for j = 2, length do work[i][j] = 3 + random(200) end
      alone[i] = m:generate(work[i], options)
    end
    local differences = 0
    for _ = 1, compositions / 2 do
      local piece, fifo = random(48), pl.policy.fifo()
      local e = pl.engine(m, { policy = function(queue, room)
        room.tokens = math.min(room.tokens, piece)
        return fifo.plan(queue, room)
      end })
      local chosen, requests = {}, {}
      local function submit()
        local i = random(#work)
        local request = { prompt = work[i] }
        for key, value in pairs(options) do request[key] = value end
        chosen[#chosen + 1], requests[#requests + 1] = i, e:submit(request)
      end
      for _ = 1, random(4) do submit() end
      for _ = 1, random(3) - 1 do e:step() end
      if random(2) == 1 then submit() end
      e:drain()
      for k, request in ipairs(requests) do
        local result, expected = request:result(), alone[chosen[k]]
        for j = 1, 3 do
          if result.ids[j] ~= expected.ids[j] or result.logprobs[j] ~= expected.logprobs[j] then differences = differences + 1 end
        end
      end
      e:close()
    end
    t.equal(differences, 0)
  end)
end
