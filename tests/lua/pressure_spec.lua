-- Engines with little memory, for models of every kind, requests of every kind and policies shipped,
-- random and hostile (but legal): no step raises, every request ends, with the bits it has alone.
-- PERILUNE_PRESSURE        engines to run (default 1000), or
-- PERILUNE_PRESSURE_SECONDS  processor seconds to run for
-- PERILUNE_SEED            another series
-- PERILUNE_PRESSURE_ONLY   one engine, by the seed that a failure names
local pl = require "perilune"
local t = require "spec"

pl.on_warning(function() end)   -- waiting long and prompts that look odd are what this is about

local only = tonumber(os.getenv "PERILUNE_PRESSURE_ONLY")
local seconds = tonumber(os.getenv "PERILUNE_PRESSURE_SECONDS")
local count = seconds and math.huge or tonumber(os.getenv "PERILUNE_PRESSURE") or 700

-- A generator of our own: the same engines on every machine.
local state
local function seed_with(n)
  state = (n * 7919 + 104729) % 2147483647
  for _ = 1, 3 do state = (state * 16807) % 2147483647 end
end
local function random(n)
  state = (state * 16807) % 2147483647
  return state % n + 1
end

local models = {}
local function model(name)
  models[name] = models[name] or pl.load(t.golden(name), { compute = "f32", threads = 1 })
  return models[name]
end

-- What an engine serves.
local served = {
  { "a decoder", { "llama-gqa" } }, { "a window", { "mistral-window" } }, { "an encoder-decoder", { "bart-plain" } },
  { "an encoder-decoder with biases", { "t5-gated-untied" } }, { "an encoder", { "bert-base" } },
  { "two decoders", { "llama-gqa", "gpt2-plain" } }, { "a decoder and an encoder-decoder", { "mistral-window", "bart-plain" } },
  { "a decoder and an encoder", { "gpt2-plain", "bert-base" } },
}

local greedy = { do_sample = false, num_beams = 1, eos_token_id = {} }
local kinds = {
  greedy = { logprobs = 0 },
  sampled = { do_sample = true, temperature = 0.9, top_k = 20, logprobs = 0 },
  beams = { num_beams = 3 },
  n = { do_sample = true, n = 3 },
  forward = { kind = "forward" },
}
local names = { "greedy", "sampled", "beams", "n", "forward" }

-- The prompt that a model was asked before, in this engine: the next may be the same or begin alike.
local asked = {}
local function prompt_of(m)
  local before, again, ids = asked[m] or {}, random(4), {}
  local length = random(3) == 1 and 20 + random(60) or random(20)
  if again == 1 and #before > 0 then length = #before end
  for j = 1, length do
    local same = again == 1 or again == 2 and j < length / 2
    ids[j] = same and before[j] or 5 + random(300)
  end
  asked[m] = ids
  return ids
end

-- Pages that a request may come to hold, all its answers and its source included.
local page_tokens = 64
local function pages_of(request)
  local o = request.options
  if not o then return 0 end
  local function pages(tokens) return math.ceil(tokens / page_tokens) end
  local rows = o.num_beams > 1 and 2 * o.num_beams or o.n or 1   -- beams: while they change places
  if request.model.head ~= "seq2seq" then return rows * pages(#request.ids + o.max_new_tokens) end
  return pages(#request.ids) + rows * pages(1 + o.max_new_tokens)
end

local function draw_any(m)
  local can_write = m.head == "causal" or m.head == "seq2seq"
  local name = can_write and names[random(#names)] or "forward"
  local request = { name = name, model = m, ids = prompt_of(m) }
  if m.head == "seq2seq" then request.ids[#request.ids] = 2 end   -- as its texts end
  if name == "forward" then return request end
  local options = {}
  for key, value in pairs(greedy) do options[key] = value end
  for key, value in pairs(kinds[name]) do options[key] = value end
  options.max_new_tokens, options.seed = random(random(4) == 1 and 50 or 12), random(1000)
  request.options = options
  return request
end

-- One that fits into so many pages.
local function draw(m, pages)
  for _ = 1, 50 do
    local request = draw_any(m)
    if pages_of(request) <= pages then return request end
  end
  return { name = "forward", model = m, ids = { 5, 6, 2 } }
end

-- What a request gives alone, by its drawing.
local alone = {}
local function answer_of(result)
  local list = {}
  for i, one in ipairs(result.sequences or { result }) do list[i] = { ids = one.ids, text = one.text, finish_reason = one.finish_reason, logprobs = one.logprobs, score = one.score } end
  return list
end
local function expected(request)
  local parts = { request.name, tostring(request.model), table.concat(request.ids, " ") }
  if request.options then parts[#parts + 1] = ("%d %d"):format(request.options.max_new_tokens, request.options.seed) end
  local key = table.concat(parts, "|")
  if not alone[key] then
    if request.name == "forward" then
      alone[key] = request.model:forward { request.ids }
    else
      alone[key] = answer_of(request.model:generate(request.ids, request.options))
    end
  end
  return alone[key]
end
local function wrong(request, result)
  if result.finish_reason == "error" then return "it ended with an error: " .. tostring(result.error) end
  local want = expected(request)
  if request.name ~= "forward" then
    for i, one in ipairs(answer_of(result)) do
      for _, part in ipairs { "ids", "logprobs", "score", "text" } do
        local fine, why = pcall(t.equal, one[part], want[i][part])
        if not fine and part == "ids" then why = ("%s, alone %s"):format(table.concat(one.ids, " "), table.concat(want[i].ids, " ")) .. (" (%s)"):format(one.finish_reason or result.finish_reason) end
        if not fine then return ("answer %d, %s: %s"):format(i, part, tostring(why)) end
      end
    end
    return nil
  end
  local compared = 0
  for name, value in pairs(result.outputs) do
    if not value:equal(want[name]) then return name .. " differs" end
    compared = compared + 1
  end
  return compared == 0 and "nothing came out" or nil
end

-- Someone who lists at random, in any order, and takes pages away.
local function random_policy(queue, room)
  local plan = {}
  for i = #queue, 2, -1 do
    local j = random(i)
    queue[i], queue[j] = queue[j], queue[i]
  end
  for _, entry in ipairs(queue) do
    if random(3) > 1 then plan[#plan + 1] = entry end
  end
  if #plan == 0 then plan[1] = queue[1] end
  if random(8) == 1 and #queue > #plan then
    local listed = {}
    for _, entry in ipairs(plan) do listed[entry.id] = true end
    for _, entry in ipairs(queue) do
      if not listed[entry.id] and entry.state ~= "waiting" then
        plan.preempt = { entry }
        break
      end
    end
  end
  plan.layout = room.step % 5 == 0 and "padded" or nil
  return plan
end

-- Everybody, always, the youngest first; a token at a time where that is possible.
local function greedy_policy(queue)
  table.sort(queue, function(a, b) return a.id > b.id end)
  local plan = {}
  for i, entry in ipairs(queue) do plan[i] = { entry, tokens = entry.kind == "generate" and entry.rows == 1 and 1 or nil } end
  return plan
end

-- One at a time: each for up to `most` steps, then another while others are there.
local function alone_for(most)
  local last, left = nil, 0
  return function(queue)
    for _, entry in ipairs(queue) do
      if entry.id == last and left > 0 then
        left = left - 1
        return { entry }
      end
    end
    local at = random(#queue)
    if queue[at].id == last then at = at % #queue + 1 end
    last, left = queue[at].id, random(most) - 1
    return { queue[at] }
  end
end

local policies = {
  { "fifo", function() return pl.policy.fifo() end },
  { "buckets", function() return pl.policy.buckets { 8, 32 } end },
  { "random", function() return random_policy end },
  { "everybody", function() return greedy_policy end },
  { "one at a time", function() return alone_for(40) end },
  { "in strict turns", function() return alone_for(1) end },   -- two that do not fit together want each other's pages
}

-- Who is named in a failure.
local function name_of(request)
  return ("%s, %d ids%s"):format(request.name, #request.ids, request.options and (", %d new"):format(request.options.max_new_tokens) or "")
end

local total = { engines = 0, requests = 0, refused = 0, steps = 0 }

-- One engine from its seed; raises with what went wrong.
local function run(seed, what)
  seed_with(seed)
  asked = {}
  local list, tokens = {}, 0
  for i, name in ipairs(what[2]) do list[i] = model(name) end
  local policy, pages = policies[random(#policies)], random(12)
  local memory = 4096   -- an encoder keeps nothing
  for _, name in ipairs(what[2]) do memory = math.max(memory, pl.estimate(t.golden(name), { compute = "f32" }).cache_per_token * page_tokens * pages) end
  local engine = pl.engine(list, { policy = policy[2](), memory = memory * #list, max_tokens = random(2) == 1 and 64 or nil })
  local sliced = random(6) == 1   -- as fast as the machine is: not the same twice
  local where = ("PERILUNE_PRESSURE_ONLY=%d (%s, policy %s, %d pages%s)"):format(seed, what[1], policy[1], pages, sliced and ", in slices" or "")
  local waiting, lines = {}, {}
  for i = 1, 3 + random(9) do waiting[i] = draw(list[random(#list)], pages) end
  for _, request in ipairs(waiting) do tokens = tokens + #request.ids + (request.options and request.options.max_new_tokens or 0) end
  local steps, most = 0, 500 + 30 * tokens
  local function submit()
    local request = table.remove(waiting)
    local given = { model = request.model }
    for key, value in pairs(request.options or kinds.forward) do given[key] = value end
    local line, err = pl.try(engine.submit, engine, request.ids, given)
    if line then
      lines[#lines + 1] = { line = line, request = request, leaves = random(12) == 1 }
    else
      total.refused = total.refused + 1
      if err.code ~= "memory" then error(where .. ": " .. name_of(request) .. " was refused: " .. tostring(err), 0) end
    end
  end
  while #waiting > 0 or not engine:idle() do
    if #waiting > 0 and (random(2) == 1 or engine:idle()) then
      submit()
    else
      local fine, err = pcall(engine.step, engine, sliced and { budget_ms = 0.2 } or nil)
      if not fine then error(("%s: step %d raised %s"):format(where, steps, tostring(err)), 0) end
      steps = steps + 1
      local some = lines[random(math.max(#lines, 1))]
      if some and some.leaves and some.line.state ~= "done" and random(4) == 1 then
        some.line:cancel()
        some.cancelled = true
      end
    end
    if steps > most then
      local states = {}
      for _, one in ipairs(lines) do if one.line.state ~= "done" then states[#states + 1] = name_of(one.request) .. " " .. one.line.state end end
      error(("%s: not done after %d steps: %s"):format(where, steps, table.concat(states, "; ")), 0)
    end
  end
  for _, one in ipairs(lines) do
    local problem = not one.cancelled and wrong(one.request, one.line:result())
    if problem then error(where .. ": " .. name_of(one.request) .. ": " .. problem, 0) end
  end
  t.equal(engine:stats().cache_bytes, 0, where .. ": keys and values stay")
  engine:close()
  total.engines, total.requests, total.steps = total.engines + 1, total.requests + #lines, total.steps + steps
end

local first = 1 + 1000000 * (tonumber(os.getenv "PERILUNE_SEED") or 0)

for i, what in ipairs(served) do
  t.test(what[1] .. ": everyone ends, as alone, and no step raises", function()
    local begun, n = os.clock(), 0
    if only then
      if (only - first) % #served == i - 1 then run(only, what) end
      return
    end
    while n * #served < count and not (seconds and os.clock() - begun > seconds / #served) do
      run(first + n * #served + i - 1, what)
      n, alone = n + 1, n % 50 == 0 and {} or alone
    end
    t.ok(n > 0)
  end)
end

t.test("most requests are served", function()
  print(("  %d engines, %d requests, %d too large for their engine, %d steps"):format(total.engines, total.requests, total.refused, total.steps))
  t.ok(only or total.requests > 3 * total.refused)
end)
