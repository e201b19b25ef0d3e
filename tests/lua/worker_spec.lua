-- worker = true: the engine steps on a thread of its own; answers, events and errors are those of any
-- other engine. And what is true of waiting: it costs nothing, and is told of once.
local pl = require "perilune"
local t = require "spec"

local m = pl.load("scripts/models/tales", { compute = "f32" })
local options = { max_new_tokens = 12, do_sample = false, eos_token_id = {} }
local prompts = { "Once upon a time", "The", "[wizard, mysterious, about the scroll]", "One day a fox" }
local answers = {}
for i, result in ipairs(m:generate(prompts, options)) do answers[i] = result.ids end

t.test("drain, results and events", function()
  for _, policy in ipairs { pl.policy.fifo(), pl.policy.fill(), pl.policy.buckets { 4, 8 } } do
    local e, lines = pl.engine(m, { worker = true, policy = policy }), {}
    for i, text in ipairs(prompts) do lines[i] = e:submit(text, options) end
    e:drain()
    local texts = {}
    for line, event in e:events() do
      if event.kind == "token" then texts[line.id] = (texts[line.id] or "") .. event.text end
    end
    for i, line in ipairs(lines) do
      t.equal({ line.state, line:result().ids, texts[line.id] }, { "done", answers[i], line:result().text })
    end
    e:set_policy(pl.policy.fifo())
    local again = e:submit(prompts[2], options)
    e:drain()
    t.equal(again:result().ids, answers[2])
    t.ok(e:idle())
    e:close()
  end
end)

t.test("a host's loop: it steps by itself, step says what it did", function()
  local e = pl.engine(m, { worker = true })
  local line, text, tokens = e:submit(prompts[1], options), "", 0
  repeat
    local step = e:step()
    tokens = tokens + step.tokens
    for event in line:events() do text = text .. event.text end
  until line.state == "done"
  for event in line:events() do text = text .. event.text end
  while not e:step({ budget_ms = 1 }).idle do end
  t.equal({ line:result().ids, text }, { answers[1], line:result().text })
  t.ok(tokens > 0)
  t.equal(e:stats().tokens, #m.tokenizer:ids(prompts[1]) + #answers[1] - 1)
  e:close()
end)

t.test("the model goes on being used beside it", function()
  local e, lines = pl.engine(m, { worker = true }), {}
  for round = 1, 6 do
    for i, text in ipairs(prompts) do lines[#lines + 1] = { e:submit(text, options), answers[i] } end
    t.equal(m:generate(prompts[1 + round % 4], options).ids, answers[1 + round % 4])
  end
  e:drain()
  for _, line in ipairs(lines) do t.equal(line[1]:result().ids, line[2]) end
  e:close()
end)

t.test("cancel, and close with work left", function()
  local e = pl.engine(m, { worker = true })
  local long = { max_new_tokens = 400, do_sample = false, eos_token_id = {} }
  local a, b = e:submit(prompts[1], long), e:submit(prompts[2], long)
  a:cancel()
  while a.state ~= "done" do e:step() end
  t.equal(a:result().finish_reason, "cancelled")
  e:close()
  t.equal({ b.state, b:result().finish_reason }, { "done", "cancelled" })
  t.raises_table(function() e:submit(prompts[1]) end, "closed")
end)

t.test("functions of the script are refused, with the reason", function()
  local function policy(queue) return queue end
  t.raises_table(function() pl.engine(m, { worker = true, policy = policy }) end, "thread of its own")
  local e = pl.engine(m, { worker = true })
  t.raises_table(function() e:set_policy(policy) end, "thread of its own")
  for key, value in pairs { processors = { function() end }, stop_when = function() end, on_token = function() end } do
    t.raises_table(function() e:submit("x", t.with(options, { [key] = value })) end, "thread of its own", "line:events()")
  end
  t.ok(e:idle())
  e:close()
end)

-- ---------------------------------------------------------------- waiting

-- A policy that wants to be asked again later.
local function patient(milliseconds)
  local calls, fifo = { count = 0 }, pl.policy.fifo()
  return function(queue, room)
    calls.count = calls.count + 1
    if room.now_ms < milliseconds then return { wait_ms = 20 } end
    return fifo.plan(queue, room)
  end, calls
end

t.test("drain, generate, stream and each honour wait_ms", function()
  for name, run in pairs {
    drain = function(policy)
      local e = pl.engine(m, { policy = policy })
      e:submit(prompts[1], options)
      e:drain()
    end,
    generate = function(policy) m:generate(prompts, t.with(options, { policy = policy })) end,
    stream = function(policy) for _ in m:stream(prompts[1], t.with(options, { policy = policy })) do end end,
    each = function(policy)
      local p, at = pl.pipeline("text-generation", m, options), 0
      local function next_text() at = at + 1 return prompts[at] end
      for _ in p:each(next_text, { policy = policy }) do end
    end,
  } do
    local policy, calls = patient(100)
    run(policy)
    t.ok(calls.count >= 12 and calls.count < 40, ("%s asked %d times"):format(name, calls.count))
  end
end)

t.test("more: as long as the host says so, a policy may wait for others", function()
  local seen = {}
  local e = pl.engine(m, { policy = function(queue, room)
    seen[#seen + 1] = room.more
    if room.more then return {} end
    return queue
  end })
  e:set_more(true)
  local line = e:submit(prompts[1], options)
  t.ok(e:step().idle)
  t.equal({ line.state, seen }, { "waiting", { true } })
  e:drain()
  t.equal({ line:result().ids, seen[2] }, { answers[1], false })
  -- Once it has drained, more may come again, as the host said.
  e:submit(prompts[2], options)
  t.ok(e:step().idle)
  t.equal(seen[#seen], true)
end)

t.test("more: never in generate and stream; in each while there is an input to take", function()
  local function recording(waits)
    local seen = {}
    return function(queue, room)
      seen[#seen + 1] = room.more
      if waits and room.more then return {} end
      return queue
    end, seen
  end
  local policy, seen = recording()
  m:generate(prompts, t.with(options, { policy = policy }))
  for _ in m:stream(prompts[1], t.with(options, { policy = policy })) do end
  for _, more in ipairs(seen) do t.equal(more, false) end
  local p = pl.pipeline("text-generation", m, options)
  for _, waits in ipairs { false, true } do
    local own, told = recording(waits)
    local at, got = 0, {}
    local function next_text()
      at = at + 1
      return at <= 12 and prompts[(at - 1) % 4 + 1] or nil
    end
    for text, answer in p:each(next_text, { policy = own, window = 3, progress = false }) do
      got[#got + 1] = answer.ids
      t.equal({ text, answer.ids }, { prompts[(#got - 1) % 4 + 1], answers[(#got - 1) % 4 + 1] })
    end
    t.equal(#got, 12)
    t.equal(told[1], true)
    if waits then t.equal(told[#told], false) end
  end
end)

t.test("who waits 200 steps while others run is told of once", function()
  local e = pl.engine(m, { policy = function(queue)
    if #queue > 1 then return { queue[2] } end
    return queue
  end })
  local line = e:submit(prompts[1], options)
  e:submit(prompts[2], { max_new_tokens = 230, do_sample = false, eos_token_id = {} })
  e:submit(prompts[3], { max_new_tokens = 230, do_sample = false, eos_token_id = {} })
  e:drain()
  local warnings = {}
  for event in line:events() do if event.kind == "warning" then warnings[#warnings + 1] = event.text end end
  t.equal(#warnings, 1)
  t.ok(warnings[1]:find("request 1 has not run for 200 steps", 1, true), warnings[1])
  t.equal({ e:stats().starved, line:result().ids }, { 2, answers[1] })   -- the third waited as well
end)

t.test("a padded step computes more positions than it has tokens; stats and step say both", function()
  local e = pl.engine(m, { policy = function(queue) return t.with({ layout = "padded" }, queue) end })
  local lengths, longest = 0, 0
  for _, text in ipairs(prompts) do
    local n = #m.tokenizer:ids(text)
    lengths, longest = lengths + n, math.max(longest, n)
    e:submit(text, t.with(options, { reuse = false }))
  end
  local step = e:step()
  t.equal({ step.tokens, step.positions }, { lengths, longest * #prompts })
  e:drain()
  local stats = e:stats()
  t.equal(stats.positions - stats.tokens, step.positions - step.tokens)
end)

t.test("submitted is told before finished, whatever happens; a new policy hears of what waits", function()
  local function keeper()
    local known, log = {}, {}
    return { plan = function(queue) return queue end,
      submitted = function(entry)
        known[entry.id] = true
        log[#log + 1] = "+" .. entry.id
      end,
      finished = function(entry)
        t.ok(known[entry.id], "finished without submitted")
        log[#log + 1] = "-" .. entry.id
      end }, log
  end
  local first, heard = keeper()
  local e = pl.engine(m, { policy = first })
  local a, b = e:submit(prompts[1], options), e:submit(prompts[2], options)
  b:cancel()
  e:step()
  t.equal(heard, { "+" .. a.id, "+" .. b.id, "-" .. b.id })
  local second, told = keeper()
  local c = e:submit(prompts[3], t.with(options, { on_token = function() if second then e:set_policy(second) second = nil end end }))
  e:drain()
  t.equal(told[1] == "+" .. a.id or told[1] == "+" .. c.id, true)
  t.equal(#told, 4)
end)

t.test("results that are read let go of their events; 6000 requests leave nothing behind", function()
  local e, small = pl.engine(pl.load(t.golden "gpt2-plain", { threads = 1 })), { max_new_tokens = 2, do_sample = false }
  local function serve(count)
    for _ = 1, count do
      local line = e:submit({ 3, 4, 5 }, small)
      repeat e:step() until line.state == "done"
      t.ok(line:result().finish_reason)
    end
    collectgarbage()
    collectgarbage()
    return collectgarbage "count"
  end
  serve(500)
  local before = serve(100)
  local after = serve(3000)
  t.ok(after < before + 300, ("%d KB, then %d KB"):format(before, after))
  for _ in e:events() do error "an event of a request whose result was read" end
end)

t.test("a policy's mistake does not take what was answered before it", function()
  local fifo, calls = pl.policy.fifo(), 0
  local err = t.raises_table(function()
    m:generate({ prompts[1], { prompt = prompts[2], max_new_tokens = 3 } }, t.with(options, { policy = function(queue, room)
      calls = calls + 1
      if calls == 6 then error "oops" end
      return fifo.plan(queue, room)
    end }))
  end, "oops")
  t.equal({ err.results[2].finish_reason, err.results[1].finish_reason }, { "length", "cancelled" })
end)
