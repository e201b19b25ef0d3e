-- pl.simulate: a policy tried on lengths alone. The engine's own scheduler runs, with its queue, its checks
-- of plans and its pages; only the passes are not computed, and time is what a formula says.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local kind = require "perilune.base.kind"
local percentiles = require "perilune.base.percentiles"
local progress = require "perilune.base.progress"
local family = require "perilune.loaded.family"
local pass_runner = require "perilune.loaded.pass_runner"
local inputs = require "perilune.run.inputs"

local simulate = {}

local spec = { layout = { "ragged", "padded" }, tokens = "positive", rows = "positive", bytes = "positive", page_tokens = "positive",
  ms_per_step = "number", ms_per_token = "number" }

-- What pl.estimate gives, and what a formula needs.
local cost_spec = { ms_per_step = "number", ms_per_token = "number", cache_per_token = "count", weights = "number", workspace = "number",
  cache_context = "number", fits = "table", max_tokens = "count" }

local work_spec = { prompt = "any", output = "count", arrive_ms = "number", kind = { "generate", "forward" }, priority = "integer",
  deadline_ms = "number", client = "string", tag = "any", n = "positive", prefix_tokens = "count", prefix = "string|number" }

-- The least of three runs of a pass over so many tokens, in milliseconds.
local function pass_ms(m, tokens)
  local ids, best = {}, math.huge
  for i = 1, tokens do ids[i] = i * 7 % m.vocab_size end
  for _ = 1, 3 do
    local began = core.clock()
    m:forward { ids }
    best = math.min(best, (core.clock() - began) * 1e3)
  end
  return best
end

-- A straight line through a short pass and a longer one.
local function measured(m)
  local most = math.min(128, m.max_tokens or 128, rawget(m, "state_").c.max_source or 128)
  local one, many = pass_ms(m, 1), pass_ms(m, most)
  local per_token = most > 1 and math.max(0, (many - one) / (most - 1)) or 0
  return { ms_per_step = math.max(0, one - per_token), ms_per_token = per_token }
end

-- Of a model: its own plans, its own pages, its limits.
local function of_model(m, o)
  local s = pass_runner.open(m, "simulate")
  local pool = pass_runner.pool(s)
  local made = { model = m, plan = pass_runner.plan(s, family.main_entry(s.family)), two = family.two_part(s.family), max_tokens = s.c.max_tokens,
    kind = family.predicts_next[m.head] and "generate" or "forward", counts_bytes = pool ~= nil }
  if pool then
    made.pool = core.dry_cache(pass_runner.plans(s), { dtype = s.cache_dtype, page_tokens = o.page_tokens or pool.page_tokens,
      budget = o.bytes or pool.budget })
  end
  if made.two then made.encode, made.cross = pass_runner.plan(s, "encode"), pass_runner.plan(s, "cross") end
  if not (o.ms_per_step and o.ms_per_token) then made.cost = measured(m) else made.cost = {} end
  return made
end

-- Of an estimate or of a formula by itself.
local function of_cost(cost, o)
  if type(cost) ~= "table" or kind.of(cost) then
    raise("argument", "simulate", "expected a model, what pl.estimate gives, or { ms_per_step=, ms_per_token= }, got " .. options.show(cost))
  end
  options.check(cost, cost_spec, "simulate")
  local bytes = cost.cache_per_token or 0
  local plan = core.dry_plan(bytes)
  local timed = cost.ms_per_step or cost.ms_per_token or o.ms_per_step or o.ms_per_token
  return { plan = plan, kind = "generate", max_tokens = cost.max_tokens, counts_bytes = bytes > 0,
    pool = core.dry_cache({ plan }, { page_tokens = o.page_tokens or 64, budget = bytes > 0 and o.bytes or nil }),
    cost = { ms_per_step = cost.ms_per_step or not timed and 1 or 0, ms_per_token = cost.ms_per_token or 0 } }
end

local function check_rate(cost, name)
  if not (cost[name] >= 0 and cost[name] < math.huge) then
    raise("option", "simulate", ("option %s: expected 0 or more milliseconds, got %s"):format(name, tostring(cost[name])))
  end
end

local most_tokens = 2 ^ 24   -- of a prompt of which only the length is given: each is stood for by an id

-- How many tokens a prompt has, and which, where that is known.
local function prompt_length(made, value, place)
  if type(value) == "string" then
    if not made.model then raise("argument", "simulate", place .. ": a text needs a model to count its tokens", "give the number of tokens") end
    value = inputs.tokenizer(made.model, "simulate"):ids(value)
  end
  if kind.is_list(value) and #value > 0 then
    if made.model then inputs.check_ids(made.model, { value }, "simulate") end
    return #value, value
  end
  if type(value) ~= "number" or value % 1 ~= 0 or value < 1 or value > most_tokens then
    raise("argument", "simulate", ("%s: expected a number of tokens from 1 to %d, got %s"):format(place, most_tokens, options.show(value)))
  end
  return value
end

-- One entry of the work with all its fields, or an error that names it.
local function job(made, item, number)
  local place = ("work[%d]"):format(number)
  if type(item) ~= "table" or kind.is_list(item) and item[1] ~= nil then item = { prompt = item } end
  options.check(item, work_spec, "simulate: " .. place, "simulate")
  local arrive = item.arrive_ms or 0
  if not (arrive >= 0 and arrive < math.huge) then raise("argument", "simulate", place .. ": arrive_ms must be 0 or more") end
  local length, ids = prompt_length(made, item.prompt, place)
  local shared = item.prefix_tokens or 0
  if (shared > 0 or item.prefix) and ids then
    raise("argument", "simulate", place .. ": prefix_tokens is for prompts of which only the length is given", "what its tokens share is seen")
  end
  if item.prefix and shared == 0 then
    raise("argument", "simulate", place .. ": prefix names whom it shares with, and nothing says how much", "give prefix_tokens")
  end
  if shared > length then
    raise("argument", "simulate", ("%s: %d prefix_tokens, and the prompt has %d"):format(place, shared, length))
  end
  return { index = number, prompt = length, ids = ids, shared = shared, prefix = item.prefix or "", output = item.output or 0, arrive_ms = arrive,
    kind = item.kind or made.kind, given = item }
end

local function jobs_of(made, work)
  if not kind.is_list(work) then
    raise("argument", "simulate", "expected a list of lengths or of { prompt=, output=, arrive_ms= }, got " .. options.show(work))
  end
  local jobs = {}
  for i, item in ipairs(kind.whole(work, "simulate", "work")) do jobs[i] = job(made, item, i) end
  table.sort(jobs, function(a, b)
    if a.arrive_ms ~= b.arrive_ms then return a.arrive_ms < b.arrive_ms end
    return a.index < b.index
  end)
  return jobs
end

-- Ids of so many tokens: the first `shared` are those of all that have the same prefix, the rest are unlike all others'.
local function ids_of(run, count, one)
  if one.ids then return one.ids end
  local ids = {}
  for i = 1, count do ids[i] = 0 end
  if one.shared > 0 then
    run.prefixes[one.prefix] = run.prefixes[one.prefix] or run.named
    run.named = math.max(run.named, run.prefixes[one.prefix] + 1)
    ids[1] = #run.jobs + run.prefixes[one.prefix]
  end
  if one.shared < count then ids[one.shared + 1] = one.index end
  return ids
end

local function submit(run, one)
  local engine, made = run.engine, run.made
  local given = one.given
  local request = { kind = one.kind, plan = made.plan, cache = made.pool, priority = given.priority, deadline_ms = given.deadline_ms,
    client = given.client, tag = given.tag }
  local prompt = one.prompt
  if made.two then
    request.source, prompt = core.batch { ids_of(run, prompt, one) }, 1
    request.encode_plan, request.cross_plan = made.encode, made.cross
  end
  if one.kind == "forward" then
    request.batch = core.batch { ids_of(run, prompt, one) }
  else
    request.ids, request.max_tokens = ids_of(run, prompt, one), made.max_tokens
    request.options = { max_new_tokens = one.output, n = given.n }
  end
  return engine:submit(request)
end

-- Hands over what has arrived by now, each at its own time.
local function take_arrivals(run, now)
  while run.jobs[run.next] and run.jobs[run.next].arrive_ms <= now do
    local one = run.jobs[run.next]
    run.engine:dry_time(one.arrive_ms)
    local fine, line = pcall(submit, run, one)
    run.engine:dry_time(now)
    if not fine then raise(line.code or "argument", "simulate", ("work[%d]: %s"):format(one.index, tostring(line)), line.hint) end
    one.line, run.by_id[line.id] = line, one
    run.next = run.next + 1
  end
end

-- The clock counts seconds from another beginning: milliseconds come out of it with a little noise.
local function rounded(ms) return math.floor(ms * 1e6 + 0.5) / 1e6 end

local function note_step(run, result, began)
  local entry = { step = #run.timeline + 1, at_ms = rounded(began), ms = rounded(run.engine:dry_time() - began), tokens = result.tokens,
    positions = result.positions, rows = result.rows, bytes = run.engine:stats().cache_bytes, ran = {} }
  for i, one in ipairs(run.engine:dry_ran()) do entry.ran[i] = { request = run.by_id[one[1]].index, tokens = one[2] } end
  run.timeline[entry.step] = entry
  run.peak = math.max(run.peak, entry.bytes)
end

-- Where nobody ran, time goes on to the next arrival or to the end of what the policy waits for.
local function pass_time(run, result, now)
  local arrival = run.jobs[run.next] and run.jobs[run.next].arrive_ms
  local wake = result.wait_ms and result.wait_ms > 0 and now + result.wait_ms or nil
  if arrival and (not wake or arrival < wake) then wake = arrival end
  if wake then run.engine:dry_time(wake) end
end

local function run_all(run, tick)
  while run.jobs[run.next] or not run.engine:idle() do
    local now = run.engine:dry_time()
    take_arrivals(run, now)
    run.engine:set_more(run.jobs[run.next] ~= nil)
    local result = run.engine:step()
    if core.interrupted() then raise("cancelled", "simulate", "interrupted") end
    if result.rows > 0 then note_step(run, result, now) end
    if result.rows == 0 and result.idle then pass_time(run, result, now) end
    tick(run.next - 1, #run.jobs)
  end
end

local function summary(run)
  local out = { steps = #run.timeline, tokens = 0, reused_tokens = 0, positions = 0, rows = 0, ms = rounded(run.engine:dry_time()),
    timeline = run.timeline, requests = {}, peak_bytes = run.made.counts_bytes and run.peak or 0 }
  for _, step in ipairs(run.timeline) do
    out.tokens, out.positions, out.rows = out.tokens + step.tokens, out.positions + step.positions, out.rows + step.rows
  end
  out.waste = out.positions > 0 and 1 - out.tokens / out.positions or 0
  local waits, firsts = {}, {}
  for _, one in ipairs(run.jobs) do
    local result = one.line:result()
    local timings = result.timings
    local wait, first = rounded(timings.queued_ms), rounded(timings.queued_ms + timings.prefill_ms)
    local reused = result.reused_tokens or 0
    out.requests[one.index] = { prompt = one.prompt, output = result.ids and #result.ids or 0, arrive_ms = one.arrive_ms, wait_ms = wait,
      reused_tokens = reused, first_token_ms = first, end_ms = rounded(one.arrive_ms + first + timings.decode_ms),
      finish_reason = result.finish_reason, error = result.error, client = one.given.client, priority = one.given.priority }
    out.reused_tokens = out.reused_tokens + reused
    waits[#waits + 1], firsts[#firsts + 1] = wait, first
  end
  out.wait_ms, out.first_token_ms = percentiles.of(waits), percentiles.of(firsts)
  return out
end

--- Tries a policy on lengths alone: the engine's own scheduler runs on them, with the same queue, room, checks
--- and errors, and computes nothing. A pass takes ms_per_step and ms_per_token for every position that it
--- computes; of a model both are measured, of an estimate without them a step takes 1. `waste` is the share of
--- computed positions that are no tokens: a padded step computes its rows times its longest. Prompts that begin alike share
--- what they have in common, as in a run: texts and ids by what they hold; of lengths the first `prefix_tokens` are
--- those of all entries with the same `prefix`.
---
---     local work = {}
---     for i = 1, 20 do work[i] = { prompt = 4 * i, output = 8, arrive_ms = 5 * i } end
---     local cost = { ms_per_step = 1, ms_per_token = 0.05 }
---     local ragged = pl.simulate(pl.policy.fifo(), work, cost)
---     local padded = pl.simulate(pl.policy.fifo(), work, cost, { layout = "padded" })
---     print(ragged.tokens, ragged.waste, padded.waste > 0.2)                --> 980	0	true
---     local chat = { { prompt = 70, prefix_tokens = 64 }, { prompt = 70, prefix_tokens = 64, arrive_ms = 9 } }
---     local alike = pl.simulate(pl.policy.fifo(), chat, cost)
---     print(alike.tokens, alike.reused_tokens)                              --> 76	64
---@param policy table|function as pl.engine takes it
---@param work any[] a number (tokens of a prompt) or { prompt= (tokens; ids or a text: those), output= (new tokens, 0), arrive_ms= (0),
--- prefix_tokens= (shared ones, 0), prefix= (with whom: any name), kind=, priority=, deadline_ms=, client=, tag=, n= } each
---@param cost Model|table a model, what pl.estimate gives, or { ms_per_step=, ms_per_token=, cache_per_token= (bytes) }
---@param opts table|nil { layout="ragged" (as plans say)|"padded" (every step), tokens=512, rows=64 (of one step), bytes= (of keys and values),
--- page_tokens=, ms_per_step=, ms_per_token= }
---@return table { steps=, tokens= (computed), reused_tokens= (shared instead), positions= (with what padding adds), waste=, rows= (of all steps
--- together), ms= (until all is done), peak_bytes= (of pages in use; 0 where nobody said what a token takes), wait_ms={ p50=, p99= } (from arrival
--- to the first step),
--- first_token_ms={ p50=, p99= }, requests={ { prompt=, output=, arrive_ms=, reused_tokens=, wait_ms=, first_token_ms=, end_ms=,
--- finish_reason=, error= }, … } as the work is, timeline={ { step=, at_ms=, ms=, tokens=, positions=, rows=, bytes=, ran={ { request=, tokens= }, … } }, … } }
function simulate.simulate(policy, work, cost, opts)
  if type(policy) ~= "table" and type(policy) ~= "function" then
    raise("argument", "simulate", "expected a policy, got " .. options.show(policy), "for example pl.policy.fifo()")
  end
  local o = options.check(opts, spec, "simulate")
  local made = kind.of(cost) == "Model" and of_model(cost, o) or of_cost(cost, o)
  local rates = { padded = o.layout == "padded" or nil }
  for _, name in ipairs { "ms_per_step", "ms_per_token" } do
    rates[name] = o[name] or made.cost[name]
    check_rate(rates, name)
  end
  local engine = core.engine(policy, { max_tokens = o.tokens, max_rows = o.rows, keep_events = false, dry = rates })
  local run = { engine = engine, made = made, jobs = jobs_of(made, work), next = 1, by_id = {}, prefixes = {}, named = 1, timeline = {}, peak = 0 }
  local fine, err = pcall(progress.during, "simulate", nil, function(tick) return run_all(run, tick) end)
  local out = fine and summary(run)
  if not fine then engine:cancel_all() end
  engine:close()
  if not fine then error(err, 0) end
  return core.answer(out)
end

return simulate
