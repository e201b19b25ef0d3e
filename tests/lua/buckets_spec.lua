-- pl.policy.buckets: a step reads prompts of one length bucket; nobody waits forever; answers are those
-- of any other policy.
local pl = require "perilune"
local t = require "spec"

local m = pl.load(t.golden "gpt2-plain", { compute = "f32" })
local bounds = { 4, 12, 40 }

local function bucket_of(length)
  for i, bound in ipairs(bounds) do if length <= bound then return i end end
  return #bounds + 1
end

local state = 99
local function random(n)
  state = (state * 16807) % 2147483647
  return state % n + 1
end

local function prompt(length)
  local ids = {}
  for i = 1, length do ids[i] = 5 + random(390) end
  return ids
end

-- A policy that writes down which prompts each step reads, and what padding would have cost.
local function watched(policy)
  local log = { steps = {}, tokens = 0, cells = 0 }
  local function plan(queue, room)
    local made, step = policy.plan(queue, room), {}
    local rows, longest = 0, 0
    for _, row in ipairs(made) do
      local entry = row[1]
      if entry.state ~= "decode" then
        step[#step + 1] = { id = entry.id, length = entry.prompt_tokens }
        rows, longest, log.tokens = rows + 1, math.max(longest, entry.pending_tokens), log.tokens + entry.pending_tokens
      end
    end
    log.cells = log.cells + rows * longest
    log.steps[#log.steps + 1] = step
    return made
  end
  return { name = "watched", plan = plan }, log
end

local lengths = {}
for i = 1, 60 do lengths[i] = random(4) == 1 and 30 + random(50) or random(30) end
local prompts = {}
for i, length in ipairs(lengths) do prompts[i] = prompt(length) end
local options = { max_new_tokens = 3, do_sample = false, eos_token_id = {} }

local function serve(policy, settings)
  local watching, log = watched(policy)
  local e, lines = pl.engine(m, { policy = watching, max_tokens = settings and settings.max_tokens, max_rows = settings and settings.max_rows,
    memory = settings and settings.memory }), {}
  for i, ids in ipairs(prompts) do lines[i] = e:submit(ids, options) end
  e:drain()
  local answers = {}
  for i, line in ipairs(lines) do
    t.equal(line:result().error, nil)
    answers[i] = line:result().ids
  end
  e:close()
  return answers, log
end

t.test("a step reads prompts of one bucket, the first that waits says of which", function()
  local answers, log = serve(pl.policy.buckets(bounds))
  local read = {}
  for _, step in ipairs(log.steps) do
    for _, row in ipairs(step) do
      t.equal(bucket_of(row.length), bucket_of(step[1].length))
      read[row.id] = true
    end
    local oldest
    for id = 1, #prompts do if not read[id] then oldest = oldest or id end end
    for _, row in ipairs(step) do t.ok(not oldest or row.id < oldest or bucket_of(row.length) == bucket_of(lengths[step[1].id])) end
  end
  t.equal(log.steps[1][1].id, 1)
  t.equal(answers, (serve(pl.policy.fifo())))
end)

t.test("it is for padding: less of it than first in, first out", function()
  local _, bucketed = serve(pl.policy.buckets(bounds))
  local _, plain = serve(pl.policy.fifo())
  local function waste(log) return 1 - log.tokens / log.cells end
  t.ok(waste(bucketed) < 0.6 * waste(plain), ("%.2f and %.2f"):format(waste(bucketed), waste(plain)))
end)

t.test("little room: chunks, few rows, few pages; the same answers", function()
  local wanted = serve(pl.policy.fifo())
  for _, settings in ipairs { { max_tokens = 16 }, { max_rows = 2 }, { max_rows = 1 }, { memory = 400000 } } do
    t.equal((serve(pl.policy.buckets(bounds), settings)), wanted)
  end
end)

t.test("a long prompt is not overtaken for ever", function()
  local e = pl.engine(m, { policy = pl.policy.buckets { 8 }, max_rows = 4 })
  local long, short = e:submit(prompt(60), options), {}
  for step = 1, 12 do   -- short ones keep coming
    for _ = 1, 4 do short[#short + 1] = e:submit(prompt(3), options) end
    e:step()
    if step == 6 then t.equal(long.state, "done") end
  end
  e:drain()
  for _, line in ipairs(short) do t.equal(#line:result().ids, 3) end
  e:close()
end)

t.test("what waited first goes first, whatever its bucket", function()
  local policy, log = watched(pl.policy.buckets { 8 })
  local e = pl.engine(m, { policy = policy, max_rows = 2 })
  for _, length in ipairs { 3, 20, 4, 21, 5, 22 } do e:submit(prompt(length), { max_new_tokens = 1, do_sample = false }) end
  e:drain()
  local order = {}
  for _, step in ipairs(log.steps) do
    local ids = {}
    for i, row in ipairs(step) do ids[i] = row.id end
    if #ids > 0 then order[#order + 1] = table.concat(ids, " ") end
  end
  t.equal(order, { "1 3", "2 4", "5", "6" })
  e:close()
end)

t.test("a pipeline over a file, as the first page has it", function()
  local texts = {}
  for i = 1, 40 do texts[i] = ("a book "):rep(random(20)) .. i end
  local p = pl.pipeline("text-classification", "scripts/models/reviews", { truncate = "model" })
  local at, seen, policy, log = 0, 0, watched(pl.policy.buckets { 16, 64, 128 })
  bounds = { 16, 64, 128 }
  for text, r, err in p:each(function() at = at + 1 return texts[at] end, { policy = policy, window = 16 }) do
    seen = seen + 1
    t.equal({ text, err }, { texts[seen] })
    if seen % 7 == 0 then t.equal(r, p(text)) end
  end
  t.equal(seen, #texts)
  for _, step in ipairs(log.steps) do
    for _, row in ipairs(step) do t.equal(bucket_of(row.length), bucket_of(step[1].length)) end
  end
  t.ok(#log.steps >= 3)
end)

t.test("bounds are checked, and kept", function()
  for _, case in ipairs { { nil, "expected the longest lengths", "16, 64, 256" }, { {}, "expected the longest" }, { 16, "expected the longest" },
    { { 0 }, "length 1", "0" }, { { 4, 4 }, "length 2", "ascending" }, { { 64, 16 }, "length 2, 16", "64" }, { { 1.5 }, "1.5" },
    { { 4, "x" }, "length 2", "x" } } do
    local bad = case[1]
    t.raises_text(function() pl.policy.buckets(bad) end, "buckets:", case[2], case[3] or "")
  end
  local mine = { 4 }
  local policy = pl.policy.buckets(mine)
  mine[1] = 100
  local plan = policy.plan({ { id = 1, kind = "generate", state = "waiting", prompt_tokens = 3, pending_tokens = 3, cached_tokens = 0 },
    { id = 2, kind = "generate", state = "waiting", prompt_tokens = 9, pending_tokens = 9, cached_tokens = 0 } },
    { tokens = 100, rows = 10, pages = 100, page_tokens = 16 })
  t.equal(#plan, 1)
  t.raises_text(function() return pl.policy.bucket end, "buckets")
end)

t.test("several answers take several rows, and a step holds them all", function()
  for _, policy in ipairs { pl.policy.fifo(), pl.policy.buckets { 8 } } do
    local beams = { max_new_tokens = 4, num_beams = 4, num_return_sequences = 2, do_sample = false, eos_token_id = {} }
    local two = { max_new_tokens = 4, do_sample = true, n = 3, seed = 4, eos_token_id = {} }
    local e, lines = pl.engine(m, { policy = policy, max_tokens = 12, max_rows = 6 }), {}
    for i = 1, 6 do lines[i] = e:submit(prompts[i], i % 2 == 0 and beams or two) end
    e:drain()
    for i = 1, 6 do
      local alone = m:generate(prompts[i], i % 2 == 0 and beams or two)
      for k, sequence in ipairs(alone.sequences) do t.equal(lines[i]:result().sequences[k].ids, sequence.ids) end
    end
    e:close()
  end
end)

t.test("answers that memory cannot hold end; who waited for their pages goes on", function()
  for _, policy in ipairs { pl.policy.fifo(), pl.policy.buckets { 8 } } do
    local e = pl.engine(m, { policy = policy, memory = 250000 })   -- two pages
    local three = e:submit(prompt(7), { max_new_tokens = 4, do_sample = true, n = 3, seed = 4, eos_token_id = {} })
    local ids = prompt(14)
    local one = e:submit(ids, options)
    e:drain()
    t.equal(three:result().finish_reason, "context")
    t.equal(one:result().ids, m:generate(ids, options).ids)
    e:close()
  end
end)
