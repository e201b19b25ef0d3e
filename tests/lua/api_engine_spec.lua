-- Engines, to the letter of the Lua surface: what engine_spec does not ask. Policies: api_policy_spec.
local pl = require "perilune"
local t = require "spec"

local nan = 0 / 0
local m = pl.load("scripts/models/tales", { compute = "f32" })
local options = { max_new_tokens = 6, do_sample = false, eos_token_id = {} }
local prompts = { "Once upon a time", "The", "[wizard, mysterious, about the scroll]", "One day a fox" }
local answers = {}
for i, result in ipairs(m:generate(prompts, options)) do answers[i] = result.ids end

local function with(more) return t.with(options, more) end

t.test("a game's loop: submit, a budget a frame, events as they come", function()
  local e = pl.engine(m)
  local line = e:submit({ prompt = "[blacksmith, grumpy, about the sword]", max_new_tokens = 10, client = "npc7" }, { seed = 3 })
  t.equal({ type(line.id), line.state }, { "number", "waiting" })
  local said, kinds, frames = "", {}, 0
  while line.state ~= "done" or frames == 0 do
    local step = e:step { budget_ms = 3 }
    t.equal({ type(step.tokens), type(step.rows), type(step.ms), type(step.idle) }, { "number", "number", "number", "boolean" })
    for ev in line:events() do
      t.equal(type(ev.text), "string")
      kinds[#kinds + 1] = ev.kind
      said = said .. ev.text
      if ev.kind == "done" then t.equal(ev.finish_reason, line:result().finish_reason) end
    end
    frames = frames + 1
    t.ok(frames < 100000)
  end
  t.equal({ said, kinds[#kinds], line:result().finish_reason ~= nil }, { line:result().text, "done", true })
  t.equal(line:result().text, line:result().text)          -- as often as asked
end)

t.test("a budget of nothing runs nothing; a frame that is over is no error", function()
  local e = pl.engine(m)
  local line = e:submit(prompts[1], options)
  for _, budget in ipairs { 0, -3.5 } do
    local step = e:step { budget_ms = budget }
    t.equal({ step.tokens, step.rows, step.idle }, { 0, 0, false })
  end
  t.equal(line.state, "waiting")
  e:step {}
  e:drain()
  t.equal(line:result().ids, answers[1])
  for _, bad in ipairs { nan, "3", true, {} } do t.raises_table(function() e:step { budget_ms = bad } end, "budget_ms") end
  t.raises_table(function() e:step(3) end, "options")
  t.raises_table(function() e:step { bugdet_ms = 3 } end, "budget_ms")
end)

t.test("events: each once, whoever asks first", function()
  local e = pl.engine(m)
  local a, b = e:submit(prompts[1], options), e:submit(prompts[2], options)
  e:drain()
  local mine, all = 0, { [a.id] = 0, [b.id] = 0 }
  for _ in a:events() do mine = mine + 1 end
  t.ok(mine >= 2)
  for request, event in e:events() do
    t.ok(request == a or request == b)
    all[request.id] = all[request.id] + 1
    t.ok(event.kind)
  end
  t.equal(all[a.id], 0)
  t.ok(all[b.id] >= 2)
  for _ in b:events() do error "twice" end
  for _ in e:events() do error "twice" end
end)

t.test("events of n answers, joined by output, are their texts", function()
  local e = pl.engine(m)
  local line = e:submit(prompts[1], { n = 2, seed = 4, max_new_tokens = 5, do_sample = true, eos_token_id = {} })
  e:drain()
  local text = { "", "" }
  for ev in line:events() do if ev.kind == "token" then text[ev.output or 1] = text[ev.output or 1] .. ev.text end end
  t.equal(text, { line:result().sequences[1].text, line:result().sequences[2].text })
end)

t.test("line:events() follows a line over many steps", function()
  local e = pl.engine(m)
  local line = e:submit(prompts[1], options)
  local iterator, count = line:events(), 0
  t.equal(iterator(), nil)
  while line.state ~= "done" do
    e:step()
    for _ in line:events() do count = count + 1 end
  end
  t.ok(count >= 7)
end)

t.test("cancel: before it ran, while it runs, after it ended, twice", function()
  local e = pl.engine(m)
  local lines = {}
  for i, text in ipairs(prompts) do lines[i] = e:submit(text, options) end
  lines[1]:cancel()
  lines[1]:cancel()
  e:step()
  e:step()
  lines[2]:cancel()
  e:drain()
  lines[3]:cancel()
  t.equal({ lines[1]:result().finish_reason, lines[1]:result().ids, lines[1]:result().text }, { "cancelled", {}, "" })
  t.equal(lines[2]:result().finish_reason, "cancelled")
  t.ok(#lines[2]:result().ids < 6)
  t.equal({ lines[3]:result().ids, lines[4]:result().ids }, { answers[3], answers[4] })
  local last
  for ev in lines[1]:events() do last = ev end
  t.equal(last.kind, "done")
end)

t.test("callbacks may submit, cancel, call other models; the engine itself they may not step or close", function()
  local e = pl.engine(m)
  local second, other
  local first = e:submit(prompts[1], with { on_token = function()
    if second then return end
    second = e:submit(prompts[2], options)
    other:cancel()
    t.equal(m:generate(prompts[4], options).ids, answers[4])
  end })
  other = e:submit(prompts[3], options)
  e:drain()
  t.equal({ first:result().ids, second:result().ids, other:result().finish_reason }, { answers[1], answers[2], "cancelled" })
  for _, call in ipairs { function() e:step() end, function() e:drain() end, function() e:close() end } do
    local line = e:submit(prompts[1], with { on_token = call })
    e:drain()
    t.equal(line:result().finish_reason, "error")
    t.ok(line:result().error:find("inside", 1, true), line:result().error)
  end
  e:drain()
end)

t.test("submit: kinds of input, strange ones", function()
  local e = pl.engine(m)
  local ids = m.tokenizer:ids(prompts[1])
  for _, input in ipairs { prompts[1], ids, { prompt = prompts[1] }, { ids = ids }, { prompts[1] }, pl.batch { ids } } do
    local line = e:submit(input, options)
    e:drain()
    t.equal(line:result().ids, answers[1])
  end
  for _, input in ipairs { 7, {}, { {} }, true, prompts, { 1, 99999 }, { prompt = "x", max_new_token = 1 }, { prompt = "x", ids = { 1 } } } do
    t.raises_table(function() e:submit(input, options) end)
  end
  t.raises_table(function() e:submit() end, "submit")
  t.raises_table(function() e:submit("x", 7) end, "options")
  t.raises_table(function() e:submit("x", { model = pl.load(t.golden "llama-gqa") }) end, "model")
  t.raises_table(function() e:submit("x", { kind = "embed" }) end, "kind")
  t.raises_table(function() e:submit("x", { policy = pl.policy.fifo() }) end, "policy")
  t.raises_table(function() e:submit("x", { client = 7 }) end, "client")
  t.raises_table(function() e:submit("x", { deadline_ms = nan }) end, "deadline_ms")
  t.equal(e:stats().waiting, 0)
end)

t.test("engines: options, models, closing, dropping", function()
  for _, case in ipairs { { 7 }, { {} }, { { m, 7 } }, { m, { memory = 0 } }, { m, { memory = "1G" } }, { m, { max_rows = 0 } }, { m, { max_tokens = 1.5 } },
    { m, { policy = "fifo" } }, { m, { policy = {} } }, { m, { worker = true, policy = function(queue) return queue end } }, { m, { polcy = 1 } }, { m, "fifo" } } do
    t.raises_table(function() pl.engine(case[1], case[2]) end)
  end
  t.raises_table(function() pl.engine() end, "engine")
  t.ok(pl.engine(m, { worker = false }))
  local e = pl.engine(m)
  local line = e:submit(prompts[1], options)
  e:step()
  e:close()
  e:close()
  t.equal({ line.state, line:result().finish_reason, tostring(e):find("closed", 1, true) ~= nil }, { "done", "cancelled", true })
  line:cancel()
  for _ in line:events() do end
  for _, name in ipairs { "submit", "step", "events", "drain", "stats", "idle" } do t.raises_table(function() e[name](e, "x") end, "closed") end
  t.raises_table(function() e:set_policy(pl.policy.fifo()) end, "closed")
  local used = m:memory().cache
  for _ = 1, 10 do
    local dropped = pl.engine(m)
    dropped:submit(prompts[1], options)
    dropped:step()
  end
  collectgarbage()
  collectgarbage()
  t.equal(m:memory().cache, used)
  local orphan = pl.engine(m):submit(prompts[1], options)
  collectgarbage()
  collectgarbage()
  t.ok(orphan.state)
  for _ in orphan:events() do end
  orphan:cancel()
end)

t.test("engines in coroutines that are gone", function()
  local e, line
  coroutine.wrap(function()
    e = pl.engine(m, { policy = { plan = function(queue) return queue end, submitted = function() end } })
    line = e:submit(prompts[1], with { on_token = function() end, stop_when = function() return false end })
    e:step()
  end)()
  collectgarbage()
  collectgarbage()
  e:drain()
  t.equal(line:result().ids, answers[1])
  local steps = coroutine.wrap(function()
    local mine = pl.engine(m)
    local l = mine:submit(prompts[2], options)
    while l.state ~= "done" do mine:step { budget_ms = 0.5 } coroutine.yield() end
    return l:result().ids
  end)
  local ids
  repeat ids = steps() collectgarbage() until ids
  t.equal(ids, answers[2])
end)

t.test("two engines on one model, two models in one engine", function()
  local a, b = pl.engine(m), pl.engine(m)
  local x, y = a:submit(prompts[1], options), b:submit(prompts[2], options)
  while not (a:idle() and b:idle()) do
    if not a:idle() then a:step { budget_ms = 0.3 } end
    if not b:idle() then b:step() end
  end
  t.equal({ x:result().ids, y:result().ids }, { answers[1], answers[2] })
  local llama = pl.load(t.golden "llama-gqa", { compute = "f32" })
  local alone = llama:generate({ 1, 5, 9 }, options).ids
  local both = pl.engine { m, llama }
  local lines = { both:submit(prompts[1], options), both:submit({ 1, 5, 9 }, with { model = llama }), both:submit({ 1, 5, 9 }, with { model = 2 }) }
  while not both:step({ budget_ms = 0.5 }).idle do end
  t.equal({ lines[1]:result().ids, lines[2]:result().ids, lines[3]:result().ids }, { answers[1], alone, alone })
end)

t.test("memory that is too small: waits, or says that it can never be", function()
  local e = pl.engine(m, { memory = 2 * 64 * m:memory().cache_per_token })
  local fits = e:submit(prompts[1], options)
  local fine, line = pcall(function() return e:submit(m.tokenizer:ids(("word "):rep(200)), options) end)
  pcall(e.drain, e)
  t.equal(fits:result().ids, answers[1])
  if fine then t.equal(line:result().finish_reason, "error") else t.equal(line.code, "memory") end
  local tiny = pl.try(pl.engine, m, { memory = 1 })
  if tiny then
    local never = pl.try(tiny.submit, tiny, prompts[1], options)
    if never then
      pl.try(tiny.drain, tiny)
      t.ok(never.state == "waiting" or never:result().finish_reason == "error")
    end
  end
  t.equal(m:generate(prompts[1], options).ids, answers[1])
end)

t.test("forward requests and their results", function()
  local reviews = pl.load("scripts/models/reviews", { compute = "f32" })
  local e = pl.engine(reviews)
  local ids = { 2, 17, 166, 67, 3 }
  local line = e:submit(ids, { client = "a" })
  local step = e:step()
  t.ok(step.rows == 1 and line.state == "done")
  local result = line:result()
  t.ok(result.outputs.logits:equal(reviews:forward(ids).logits))
  t.equal(type(result.timings), "table")
  local kinds = {}
  for ev in line:events() do kinds[#kinds + 1] = ev.kind end
  t.equal(kinds, { "done" })
  t.raises_table(function() e:submit({ ids, ids }) end, "2")
  t.raises_table(function() e:submit(ids, { max_new_tokens = 3 }) end, "max_new_tokens")
  t.raises_table(function() e:submit(ids, { kind = "generate" }) end, "head")
  local causal = pl.engine(m):submit({ 1, 5 }, { kind = "forward" })
  t.ok(causal)
end)

t.test("request and engine: fields, strangers, printing", function()
  local e = pl.engine(m)
  local line = e:submit(prompts[1], options)
  t.equal(line.prompt_tokens, #m.tokenizer:ids(prompts[1]))
  t.raises_table(function() return line.stat, 1 end, "state")
  t.raises_table(function() line.state = "done" end, "state")
  t.raises_table(function() return line.cancel() end, "colon")
  t.raises_table(function() return e.sumbit, 1 end, "submit")
  t.raises_table(function() return e.step() end, "colon")
  t.raises_table(function() return e.submit "x" end, "colon")
  t.ok(tostring(line):find("Request 1", 1, true) and tostring(e):find("1 waiting", 1, true))
  for _, key in ipairs { "steps", "tokens", "rows", "finished", "waiting", "running", "busy_ms", "cache_bytes" } do
    t.equal(type(e:stats()[key]), "number", key)
  end
  e:drain()
end)
