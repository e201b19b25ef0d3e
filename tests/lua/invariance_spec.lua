-- Promise 2: a batch never changes an answer. Random batch compositions of the tales model, each held
-- bit for bit against every prompt alone: sizes, orders, join and leave, left-padded, right-padded,
-- ragged, chunked prefill, budgets that stop inside a pass, eviction, 1 and 2 threads.
-- PERILUNE_COMPOSITIONS sets how many (default 1000).
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"

local count = tonumber(os.getenv "PERILUNE_COMPOSITIONS") or 1000
local m = pl.load("scripts/models/tales", { compute = os.getenv "PERILUNE_INVARIANCE_COMPUTE" or "f32" })

-- A generator of our own: the same compositions on every machine and run.
local state = 12345 + (tonumber(os.getenv "PERILUNE_SEED") or 0)
local function random(n)
  state = (state * 16807) % 2147483647
  return state % n + 1
end

local lengths = { 1, 2, 3, 5, 8, 13, 21, 31, 32, 33, 47, 63, 64, 65, 90, 127, 128, 160 }
local prompts, alone = {}, {}
for i, length in ipairs(lengths) do
  prompts[i] = { 1 }
  for j = 2, length do prompts[i][j] = 260 + random(1700) end
end

local options = { max_new_tokens = 4, do_sample = true, temperature = 0.9, top_k = 50, seed = 11, logprobs = 0, eos_token_id = {} }

core.set_threads(1)
for i, prompt in ipairs(prompts) do
  alone[i] = { logits = m:forward({ prompt }, { rows = "last" }).logits:at { batch = 1 }:copy(), result = m:generate(prompt, options) }
end

local differences, compared = 0, 0
local function same_numbers(a, b)
  if #a ~= #b then return false end
  for i = 1, #a do if a[i] ~= b[i] then return false end end
  return true
end
local function check(equal)
  compared = compared + 1
  if not equal then differences = differences + 1 end
end
local function check_result(i, result)
  check(same_numbers(alone[i].result.ids, result.ids) and same_numbers(alone[i].result.logprobs, result.logprobs))
end

local function pick(most)
  local chosen = {}
  for k = 1, random(most) do chosen[k] = random(#prompts) end
  return chosen
end
local function rows(chosen)
  local list = {}
  for k, i in ipairs(chosen) do list[k] = prompts[i] end
  return list
end

local kinds = {}
function kinds.ragged()
  local chosen = pick(8)
  local logits = m:forward(rows(chosen), { rows = "last" }).logits
  for k, i in ipairs(chosen) do check(logits:at { batch = k }:equal(alone[i].logits)) end
end
local function padded(side)
  local chosen = pick(6)
  local view = pl.batch(rows(chosen)):padded { side = side, multiple_of = random(2) == 1 and 8 or 1 }
  local logits = m:forward({ ids = view.ids, mask = view.mask }, { rows = "last" }).logits
  for k, i in ipairs(chosen) do check(logits:at { batch = k }:equal(alone[i].logits)) end
end
function kinds.padded_left() padded "left" end
function kinds.padded_right() padded "right" end

-- A policy that is anything but steady: random rows, random chunks, now and then an eviction.
local function random_policy(queue)
  local plan = {}
  for _, entry in ipairs(queue) do
    if random(4) > 1 then plan[#plan + 1] = { entry, tokens = random(math.min(entry.pending_tokens, 40)) } end
  end
  if #plan == 0 then plan[1] = { queue[1], tokens = 1 } end
  if random(12) == 1 and #queue > #plan then
    local listed = {}
    for _, row in ipairs(plan) do listed[row[1].id] = true end
    for _, entry in ipairs(queue) do
      if not listed[entry.id] then
        plan.preempt = { entry }
        break
      end
    end
  end
  return plan
end

local function serve(budget_ms)
  local engine = pl.engine(m, { policy = random_policy })
  local lines, waiting = {}, pick(6)
  local chosen = {}
  while #waiting > 0 or #lines == 0 or not engine:step { budget_ms = budget_ms }.idle do
    if #waiting > 0 then   -- joins while others run
      local i = table.remove(waiting)
      chosen[#chosen + 1] = i
      lines[#lines + 1] = engine:submit(prompts[i], options)
    end
    if random(10) == 1 then   -- leaves
      local extra = engine:submit(prompts[random(#prompts)], options)
      engine:step { budget_ms = budget_ms }
      extra:cancel()
    end
  end
  for k, line in ipairs(lines) do check_result(chosen[k], line:result()) end
  engine:close()
end
function kinds.served() serve(nil) end
function kinds.served_in_slices() serve(0.3) end
function kinds.list()
  local chosen = pick(6)
  for k, result in ipairs(m:generate(rows(chosen), options)) do check_result(chosen[k], result) end
end

local names = {}
for name in pairs(kinds) do names[#names + 1] = name end
table.sort(names)

t.test(count .. " random batch compositions, 0 bit differences", function()
  for n = 1, count do
    core.set_threads(n % 2 + 1)
    kinds[names[(n - 1) % #names + 1]]()
  end
  print(("  %d answers compared, %d differ"):format(compared, differences))
  t.equal(differences, 0)
  t.ok(compared >= count)
end)

t.test("a difference of one bit is seen", function()
  local changed = alone[5].logits:copy()
  changed:set(changed:at { vocab = 7 }:item() * (1 + 2 ^ -23), { vocab = 7 })
  t.ok(not changed:equal(alone[5].logits))
end)
core.set_threads(1)
