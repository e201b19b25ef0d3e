-- Models and tensors on another device: the emulator, or the one PERILUNE_TEST_DEVICE names. What it
-- computes is held against the CPU, by value; against itself, bit for bit.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"
local folder_of = require "folder_of"

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

-- llama-gqa with other weights, and another config.json.
local function changed(change, config)
  local file, tensors = pl.open "tests/golden/llama-gqa/model.safetensors", {}
  for _, tensor in ipairs(file.names) do tensors[tensor] = file.tensor(tensor) end
  change(tensors)
  local folder = folder_of.copy("tests/golden/llama-gqa", { ["model.safetensors"] = false, ["config.json"] = config })
  pl.save(folder .. "/model.safetensors", tensors)
  return folder
end

local function with_head(value, row)
  return changed(function(tensors)
    local head = tensors["lm_head.weight"]:copy()
    head:set(value, row and { [head.shape[1].name] = row } or {})
    tensors["lm_head.weight"] = head
  end)
end

t.test("a head_dim that the kernels do not take is an error that says so", function()
  local config = core.read_file("tests/golden/llama-gqa/config.json"):gsub('"head_dim": 8', '"head_dim": 264')
  local folder = changed(function(tensors)
    for tensor, old in pairs(tensors) do
      local part = tensor:match "self_attn%.(.)_proj%.weight"
      local rows, columns = old.shape[1].size, part and old.shape[2].size
      if part == "o" then columns = columns * 33 elseif part then rows = rows * 33 end
      if part then tensors[tensor] = pl.random({ rows, columns }, { seed = 1, axes = { "out", "in" } }) * 0.05 end
    end
  end, config)
  t.equal(#pl.load(folder, { device = "cpu" }):generate(prompts[1], { max_new_tokens = 2, eos_token_id = {} }).ids, 2)
  local _, err = pl.try(function() return pl.load(folder, { device = name }):forward { prompts[1] } end)
  t.equal(err and err.code, "unsupported")
  t.ok(tostring(err):find("head_dim is 264", 1, true) and tostring(err):find("at most 256", 1, true), tostring(err))
end)

for _, case in ipairs {
  { "equal logits: the lowest id", 0 }, { "a logit that overflows", 3e38, 8 }, { "a logit that is NaN", 0 / 0, 301 },
} do
  t.test("greedy, " .. case[1], function()
    local folder = with_head(case[2], case[3])
    local answers = {}
    for i, device in ipairs { "cpu", name } do
      local m = pl.load(folder, { device = device, compute = "f32" })
      local result = m:generate(prompts[1], { max_new_tokens = 4, eos_token_id = {} })
      answers[i] = result.error or result.ids
    end
    t.equal(answers[2], answers[1])
    t.equal(type(answers[2]), case[2] ~= case[2] and "string" or "table")
  end)
end

t.test("choices are taken there, beside requests that need the host", function()
  local greedy = { max_new_tokens = 3, eos_token_id = {} }
  local sampled = { max_new_tokens = 3, eos_token_id = {}, do_sample = true, seed = 3, typical_p = 0.9 }
  local function cost(options)
    local before = launches()
    local result = here:generate(prompts[1], options)
    return launches() - before, result.ids
  end
  local with_choice, best = cost(greedy)
  local without, drawn = cost(sampled)
  t.equal(with_choice - without, 3) -- a kernel for each token
  for _, mix in ipairs { { greedy, greedy, sampled }, { greedy, sampled, sampled } } do
    local e, requests = pl.engine(here), {}
    for i, options in ipairs(mix) do
      local request = { prompt = prompts[1] }
      for key, value in pairs(options) do request[key] = value end
      requests[i] = e:submit(request)
    end
    e:drain()
    for i, options in ipairs(mix) do t.equal(requests[i]:result().ids, options == greedy and best or drawn) end
    e:close()
  end
end)

t.test("a step of few rows starts six kernels a layer", function()
  local e = pl.engine(pl.load("tests/golden/llama-gqa", { device = name, compute = "bf16" }))
  for _, prompt in ipairs(prompts) do e:submit(prompt, { max_new_tokens = 8, eos_token_id = {} }) end
  for _ = 1, 3 do e:step() end   -- all prompts are in
  local before = launches()
  e:step()
  t.equal(launches() - before, 6 * 3 + 7, "three layers, and what a step takes once")
  e:close()
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

t.test("tensors there are set from tensors here, and joined", function()
  local function make() return pl.tensor({ { 1, 2, 3 }, { 4, 5, 6 } }, { axes = { "row", "column" } }) end
  local x, y = make(), make():to(name)
  y:set(pl.tensor({ 7, 8, 9 }, { axes = { "column" } }), { row = 2 })
  t.equal(y:tolist(), { { 1, 2, 3 }, { 7, 8, 9 } })
  x:set(y:at { row = 2 }, { row = 1 })
  t.equal(x:tolist(), { { 7, 8, 9 }, { 4, 5, 6 } })
  local joined = pl.cat({ y, y }, "row")
  t.equal(joined.device, here.device)
  t.equal(joined:tolist(), { { 1, 2, 3 }, { 7, 8, 9 }, { 1, 2, 3 }, { 7, 8, 9 } })
  t.equal(pl.stack({ y, y }, "copy"):at { copy = 2 }:tolist(), y:tolist())
  local _, err = pl.try(pl.stack, { x, y }, "copy")
  t.equal(err and err.code, "device")
end)

t.test("a tensor there prints as here, from its edges and statistics made there", function()
  local wild = pl.random({ 40, 50 }, { seed = 2, axes = { "row", "column" } })
  wild:set(0 / 0, { row = 3, column = 3 })
  wild:set(1 / 0, { row = 3, column = 4 })
  local large = pl.random({ 2000, 600 }, { seed = 3, axes = { "row", "column" } }) -- over what is copied for statistics
  local ids = pl.tensor({ 7, 20000001, 20000003 }, { axes = { "token" }, dtype = "i64" })
  for _, x in ipairs { wild, large, ids, ids:to "i32", wild:to "bf16", wild:gt(0) } do
    local y = x:to(name)
    local before = launches()
    local shown = tostring(y)
    t.equal((shown:gsub("%s*" .. here.device:gsub("%W", "%%%0"), "")), (tostring(x):gsub("%s*cpu", "")))
    t.ok(launches() > before or x == large or x.dtype == "bool", "its values were copied: " .. shown)
    local here_statistics, there = x:stats(), y:stats()
    for key, value in pairs(here_statistics) do
      t.ok(value == there[key] or math.abs(value - there[key]) <= 1e-5 * math.max(1, math.abs(value)),
        ("%s: %g, not %g"):format(key, there[key], value))
    end
  end
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
local compositions = tonumber(os.getenv "PERILUNE_COMPOSITIONS") or 60
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
