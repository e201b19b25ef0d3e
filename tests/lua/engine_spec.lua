-- Engines and policies: submit, step, events, budgets, policies of scripts and their mistakes.
local pl = require "perilune"
local t = require "spec"

local m = pl.load("scripts/models/tales", { compute = "f32" })
local options = { max_new_tokens = 8, do_sample = false, eos_token_id = {} }
local prompts = { "Once upon a time", "The", "[wizard, mysterious, about the scroll]", "One day a fox" }

local function alone(text) return m:generate(text, options) end

t.test("submit, step, drain, results", function()
  local e = pl.engine(m)
  local lines = {}
  for i, text in ipairs(prompts) do
    lines[i] = e:submit(text, options)
    t.equal(lines[i].state, "waiting")
  end
  t.equal(lines[1]:result(), nil)
  local step = e:step()
  t.ok(step.tokens > 0 and step.rows > 0 and not step.idle)
  t.ok(e:drain() == e)
  for i, text in ipairs(prompts) do
    t.equal(lines[i].state, "done")
    t.equal(lines[i]:result().ids, alone(text).ids)
  end
  t.ok(e:step().idle)
  local stats = e:stats()
  t.equal(stats.finished, 4)
  t.equal(stats.waiting + stats.running, 0)
  e:close()
  t.raises_text(function() e:submit "x" end, "closed")
  t.raises_text(function() e:step() end, "closed")
end)

t.test("events: each once, texts joined are the result's", function()
  local e = pl.engine(m)
  local first, second = e:submit(prompts[1], options), e:submit(prompts[2], options)
  local texts, done = {}, 0
  while not e:idle() do
    e:step()
    for request, event in e:events() do
      if event.kind == "token" then
        texts[request.id] = (texts[request.id] or "") .. event.text
      elseif event.kind == "done" then
        done = done + 1
      end
    end
  end
  t.equal(done, 2)
  t.equal(texts[first.id], first:result().text)
  t.equal(texts[second.id], second:result().text)
  for _ in e:events() do error "an event came twice" end
end)

t.test("line:events yields what is there and never steps", function()
  local e = pl.engine(m)
  local line = e:submit(prompts[1], options)
  for _ in line:events() do error "nothing ran yet" end
  local text = ""
  while line.state ~= "done" do
    e:step()
    for event in line:events() do if event.kind == "token" then text = text .. event.text end end
  end
  t.equal(text, line:result().text)
end)

t.test("a budget stops inside a pass and goes on; no answer changes", function()
  local e = pl.engine(m)
  local lines, steps = {}, 0
  for i, text in ipairs(prompts) do lines[i] = e:submit(text, options) end
  while not e:step { budget_ms = 0.2 }.idle do steps = steps + 1 end
  t.ok(steps > 8)
  for i, text in ipairs(prompts) do t.equal(lines[i]:result().ids, alone(text).ids) end
end)

t.test("cancel one, the others go on", function()
  local e = pl.engine(m)
  local lines = {}
  for i, text in ipairs(prompts) do lines[i] = e:submit(text, options) end
  e:step()
  e:step()
  lines[2]:cancel()
  e:drain()
  t.equal(lines[2]:result().finish_reason, "cancelled")
  t.equal(lines[1]:result().ids, alone(prompts[1]).ids)
  t.equal(lines[3]:result().ids, alone(prompts[3]).ids)
end)

t.test("a policy of a script: what it sees, chunks, its own order", function()
  local seen
  local e = pl.engine(m, { policy = function(queue, room)
    if not seen then
      local entry = queue[1]
      seen = { count = #queue, state = entry.state, prompt = entry.prompt_tokens, pending = entry.pending_tokens, client = entry.client,
        tag = entry.tag, most = entry.max_new_tokens, rows = room.rows, tokens = room.tokens, page = room.page_tokens }
    end
    table.sort(queue, function(a, b) return a.id > b.id end)
    return { { queue[1], tokens = math.min(2, queue[1].pending_tokens) } }
  end })
  local lines = {}
  for i, text in ipairs(prompts) do lines[i] = e:submit({ prompt = text, client = "npc" .. i, tag = "x" }, options) end
  local finished = {}
  while not e:idle() do
    e:step()
    for request, event in e:events() do if event.kind == "done" then finished[#finished + 1] = request.id end end
  end
  t.equal(seen.count, 4)
  t.equal(seen.state, "waiting")
  t.equal(seen.prompt, #m.tokenizer:ids(prompts[1]))
  t.equal(seen.pending, seen.prompt)
  t.equal(seen.client, "npc1")
  t.equal(seen.tag, "x")
  t.equal(seen.most, 8)
  t.ok(seen.rows > 0 and seen.tokens > 0 and seen.page > 0)
  t.equal(finished, { lines[4].id, lines[3].id, lines[2].id, lines[1].id })
  for i, text in ipairs(prompts) do t.equal(lines[i]:result().ids, alone(text).ids) end
end)

t.test("policies with submitted and finished keep their own order", function()
  local log = {}
  local e = pl.engine(m, { policy = {
    plan = function(queue) return { queue[1] } end,
    submitted = function(entry) log[#log + 1] = "+" .. entry.id end,
    finished = function(entry) log[#log + 1] = "-" .. entry.id end,
  } })
  local a, b = e:submit(prompts[1], options), e:submit(prompts[2], options)
  e:drain()
  t.equal(log, { "+" .. a.id, "+" .. b.id, "-" .. a.id, "-" .. b.id })
end)

t.test("bad plans are errors and change nothing", function()
  local bad = {
    { "no table", function() return 7 end },
    { "a stranger", function() return { { id = 99 } } end },
    { "twice", function(queue) return { queue[1], queue[1] } end },
    { "too many tokens", function(queue) return { { queue[1], tokens = 1e6 } } end },
    { "its own error", function() error "oops" end },
    { "never runs", function() return {} end },
  }
  for _, case in ipairs(bad) do
    local e = pl.engine(m, { policy = case[2] })
    local line = e:submit(prompts[1], options)
    local err = t.raises(function() e:drain() end)
    t.ok(#tostring(err) > 5, case[1])
    t.equal(line:result(), nil, case[1])
    e:set_policy(pl.policy.fifo())
    e:drain()
    t.equal(line:result().ids, alone(prompts[1]).ids, case[1])
  end
end)

t.test("preempted and computed again: the same answer", function()
  local steps = 0
  local e = pl.engine(m, { policy = function(queue)
    steps = steps + 1
    local plan = {}
    for _, entry in ipairs(queue) do
      if steps % 3 == 0 and entry.state == "decode" and not plan.preempt and #queue > 1 then
        plan.preempt = { entry }
      else
        plan[#plan + 1] = entry
      end
    end
    return plan
  end })
  local lines = {}
  for i, text in ipairs(prompts) do lines[i] = e:submit(text, options) end
  e:drain()
  for i, text in ipairs(prompts) do t.equal(lines[i]:result().ids, alone(text).ids) end
end)

t.test("little memory: requests wait their turn", function()
  local e = pl.engine(m, { memory = 3 * 64 * m:memory().cache_per_token })
  local lines = {}
  for i = 1, 8 do lines[i] = e:submit(prompts[(i - 1) % 4 + 1], options) end
  e:drain()
  for i = 1, 8 do t.equal(lines[i]:result().ids, alone(prompts[(i - 1) % 4 + 1]).ids) end
end)

t.test("other heads are served as well", function()
  local reviews = pl.load("scripts/models/reviews", { compute = "f32" })
  local e = pl.engine { m, reviews }
  local ids = { 2, 17, 166, 67, 168, 61, 470, 398, 5, 3 }
  local text, class = e:submit(prompts[1], options), e:submit(ids, { model = reviews })
  e:drain()
  t.equal(text:result().ids, alone(prompts[1]).ids)
  local logits = class:result().outputs.logits
  t.equal(logits:tolist(), reviews:forward({ ids }).logits:tolist())
end)

t.test("close: what is left is cancelled, its memory given back", function()
  local used = m:memory().cache
  local e = pl.engine(m)
  local line = e:submit(prompts[1], options)
  e:step()
  t.ok(m:memory().cache > used)
  e:close()
  t.equal(line.state, "done")
  t.equal(line:result().finish_reason, "cancelled")
  t.equal(m:memory().cache, used)
end)

t.test("mistakes in calls", function()
  t.raises_text(function() pl.engine(7) end, "model")
  t.raises_text(function() pl.engine(m, { polcy = 1 }) end, "polcy", "policy")
  local e = pl.engine(m)
  t.raises_text(function() e:submit({ "a", "b" }) end, "2")
  t.raises_text(function() e:submit("a", { max_new_token = 1 }) end, "max_new_tokens")
  t.raises_text(function() e:step { budget = 3 } end, "budget_ms")
  t.raises_text(function() e:drian() end, "drain")
  t.raises_text(function() e:set_policy "fifo" end, "policy")
end)

t.test("options in the models' place say where models go", function()
  t.raises_text(function() pl.engine { policy = pl.policy.fifo() } end, "expected a model", "pl.engine(m, {")
end)
