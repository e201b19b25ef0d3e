-- Little memory: whatever is asked of an engine, every request ends, with the answer it has alone, and
-- no step raises. A policy sees pages by pool and does no arithmetic.
local pl = require "perilune"
local t = require "spec"

local state = 17
local function random(n)
  state = (state * 16807) % 2147483647
  return state % n + 1
end

local function ids(m, n)
  local row = {}
  for i = 1, n do row[i] = 3 + random(m.vocab_size - 4) end
  return row
end

local function page_of(m) return 64 * m:memory().cache_per_token end

-- The kinds of request, as options of submit.
local kinds = {
  greedy = function() return { max_new_tokens = random(20), do_sample = false, eos_token_id = {} } end,
  several = function() return { max_new_tokens = random(20), do_sample = true, n = 2 + random(2), seed = random(99), eos_token_id = {} } end,
  beams = function() return { max_new_tokens = random(20), do_sample = false, num_beams = 2 + random(2), eos_token_id = {} } end,
  forward = function() return { kind = "forward" } end,
}

local function flat(result)
  if result.outputs then return result.outputs.logits:tolist() end
  local list = { result.finish_reason }
  for i, sequence in ipairs(result.sequences or { result }) do list[i + 1] = { ids = sequence.ids, score = sequence.score } end
  return list
end

-- What a request gives by itself, with the same memory: nil where it does not fit.
local function alone(m, input, options, memory)
  local e = pl.engine(m, { memory = memory })
  local line = pl.try(e.submit, e, input, options)
  if line then e:drain() end
  local result = line and line:result()
  e:close()
  if result and result.finish_reason ~= "context" and not result.error then return flat(result) end
end

local function hold(models, names, pages, policy, longest)
  local memory = 0
  for _, m in ipairs(models) do memory = math.max(memory, #models * pages * page_of(m)) end
  local jobs = {}
  for i = 1, 9 do
    local m = models[random(#models)]
    local job = { m = m, input = ids(m, random(longest)), options = kinds[names[random(#names)]]() }
    job.alone = alone(m, job.input, job.options, memory / #models)
    if job.alone then jobs[#jobs + 1] = job end
  end
  local e = pl.engine(models, { memory = memory, policy = policy })
  for _, job in ipairs(jobs) do
    local options = t.with(job.options, { model = job.m })
    job.line = e:submit(job.input, options)
  end
  local steps = 0
  while not e:idle() do
    e:step()
    steps = steps + 1
    t.ok(steps < 3000, "it goes on for ever")
  end
  for _, job in ipairs(jobs) do
    t.equal(job.line:result().error, nil)
    t.equal(flat(job.line:result()), job.alone)
  end
  t.equal(e:stats().cache_bytes, 0)
  e:close()
  return #jobs
end

local function load(name) return pl.load(t.golden(name), { compute = "f32", tokenizer = false }) end

-- Lists some, in any order, with any chunk, and preempts.
local function whims(queue)
  local plan = { preempt = {} }
  for i = #queue, 2, -1 do
    local j = random(i)
    queue[i], queue[j] = queue[j], queue[i]
  end
  for _, entry in ipairs(queue) do
    local what = random(8)
    if what == 1 then
      plan.preempt[#plan.preempt + 1] = entry
    elseif #plan == 0 or what > 3 then
      plan[#plan + 1] = what > 5 and entry.kind == "generate" and { entry, tokens = 1 } or entry
    end
  end
  return plan
end
-- Only the youngest: it takes from those that came before.
local function youngest(queue) return { queue[#queue] } end

local policies = {
  { "fifo", function() return nil end }, { "fill", pl.policy.fill }, { "buckets", function() return pl.policy.buckets { 8, 32 } end },
  { "whims", function() return whims end }, { "the youngest", function() return youngest end },
}

for _, case in ipairs {
  { "a decoder", { "gpt2-plain" }, { "greedy", "several", "beams", "forward" } },
  { "windows", { "mistral-window" }, { "greedy", "several", "beams", "forward" } },
  { "an encoder-decoder", { "t5-gated-untied" }, { "greedy", "several", "beams", "forward" } },
  { "two models", { "gpt2-plain", "t5-gated-untied" }, { "greedy", "several", "beams", "forward" } },
} do
  for _, policy in ipairs(policies) do
    t.test(("%s, %s"):format(case[1], policy[1]), function()
      local models, count = {}, 0
      for i, name in ipairs(case[2]) do models[i] = load(name) end
      for _, pages in ipairs { 3, 5, 8, 13 } do count = count + hold(models, case[3], pages, policy[2](), 100) end
      t.ok(count > 4, "nothing was compared")
    end)
  end
end

t.test("an answer of several that gave its pages back shares its prompt again", function()
  local m = pl.load("scripts/models/tales", { compute = "f32" })
  for _, more in ipairs { { do_sample = true, n = 4, seed = 3 }, { do_sample = false, num_beams = 4 } } do
    local options = t.with({ max_new_tokens = 20, eos_token_id = {} }, more)
    local prompt = ids(m, 200)
    local memory = 10 * page_of(m)
    local wanted = alone(m, prompt, options, memory)
    local e = pl.engine(m, { memory = memory })
    for _ = 1, 2 do e:submit(ids(m, 60), { max_new_tokens = 20, do_sample = false, eos_token_id = {} }) end
    local line = e:submit(prompt, options)
    e:drain()
    t.equal(flat(line:result()), wanted)
    e:close()
  end
end)

t.test("a prompt that is asked again in memory for one: its kept pages stand in nobody's way", function()
  local m = load "gpt2-plain"
  for _, new in ipairs { pl.policy.fifo, pl.policy.fill, function() return pl.policy.buckets { 16, 64 } end } do
    for pages, tokens in ipairs { 20, 70 } do
      local e = pl.engine(m, { memory = pages * page_of(m), policy = new() })
      local prompt, lines, steps = ids(m, tokens), {}, 0
      for i = 1, 3 do lines[i] = e:submit(prompt, { max_new_tokens = 10, do_sample = false, eos_token_id = {} }) end
      while not e:idle() do
        e:step()
        steps = steps + 1
        t.ok(steps < 100, "it goes on for ever")
      end
      for i = 2, 3 do t.equal(flat(lines[i]:result()), flat(lines[1]:result())) end
      e:close()
    end
  end
end)

t.test("pages_needed, pool, room.pages: what is needed is what is taken", function()
  local decoder, encoder = load "gpt2-plain", load "t5-gated-untied"
  local seen, last = {}, nil
  local e
  e = pl.engine({ decoder, encoder }, { memory = 40 * (page_of(decoder) + page_of(encoder)), policy = function(queue, room)
    if last and queue[1] == last.entry then   -- it ran alone: its pool lost what it needed
      t.equal(last.room.pages[last.pool] - room.pages[last.pool], last.needed)
    end
    local entry = queue[1]
    t.ok(entry.pages_needed <= room.pages[entry.pool])
    seen[entry.pool] = math.max(seen[entry.pool] or 0, entry.pages_needed)
    last = { entry = entry, room = room, pool = entry.pool, needed = entry.pages_needed }
    return { entry }
  end })
  e:submit(ids(decoder, 70), { max_new_tokens = 70, do_sample = false, eos_token_id = {} })
  e:submit(ids(encoder, 70), { model = encoder, max_new_tokens = 70, do_sample = false, eos_token_id = {} })
  e:drain()
  t.equal(#seen, 2)
  t.ok(seen[1] >= 2 and seen[2] >= 2)
  e:close()
  local reviews, pool = pl.load("scripts/models/reviews", { compute = "f32" }), nil
  e = pl.engine(reviews, { policy = function(queue, room)
    pool = { queue[1].pool, queue[1].pages_needed, room.pages[0] > 1e6 }
    return queue
  end })
  e:submit { 2, 17, 3 }
  e:drain()
  t.equal(pool, { 0, 0, true })
end)

t.test("a forward that no memory holds is refused; what outgrows all of it ends by its context", function()
  local m = load "gpt2-plain"
  local e = pl.engine(m, { memory = page_of(m) })
  t.equal(t.raises_table(function() e:submit(ids(m, 70), { kind = "forward" }) end, "bytes").code, "memory")
  local line = e:submit(ids(m, 60), { max_new_tokens = 50, do_sample = false, eos_token_id = {} })
  e:drain()
  t.equal({ line:result().finish_reason, #line:result().ids }, { "context", 5 })
end)
