-- Generating, to the letter of the Lua surface: what generate_spec does not ask.
local pl = require "perilune"
local t = require "spec"

local nan, inf = 0 / 0, math.huge
local tales = "scripts/models/tales"
local m = pl.load(tales, { compute = "f32" })
local prompt = "Once upon a time"
local greedy = { max_new_tokens = 8, do_sample = false, eos_token_id = {} }

local function with(more) return t.with(greedy, more) end
local best = m:generate(prompt, greedy)

t.test("a result has its fields", function()
  for key, kind in pairs { text = "string", ids = "table", prompt_tokens = "number", reused_tokens = "number", finish_reason = "string",
    seed = "number", timings = "table" } do t.equal(type(best[key]), kind, key) end
  t.equal({ best.error, best.stop, best.sequences, best.logprobs, best.top_logprobs, best.prompt_logprobs }, {})
  for _, o in ipairs { greedy, with { max_new_tokens = 1 }, with { max_new_tokens = 0 } } do
    local timings = m:generate(prompt, o).timings
    for _, key in ipairs { "queued_ms", "prefill_ms", "decode_ms", "tokens_per_s" } do
      t.equal(type(timings[key]), "number", key)
      t.ok(timings[key] >= 0 and timings[key] < 1e9, key)
    end
  end
  local none = m:generate(prompt, with { max_new_tokens = 0 })
  t.equal({ none.text, none.ids, none.finish_reason }, { "", {}, "length" })
end)

t.test("the caller's tables are left as they were", function()
  local own = { prompt = prompt, max_new_tokens = 3 }
  local common = { do_sample = false, stop = { "zzz" }, eos_token_id = {}, policy = pl.policy.fifo() }
  m:generate({ own, prompt }, common)
  for _ in m:stream(own, common) do end
  t.equal(own, { prompt = prompt, max_new_tokens = 3 })
  t.equal({ common.do_sample, common.stop, common.eos_token_id, common.policy ~= nil }, { false, { "zzz" }, {}, true })
end)

t.test("one in, one out, for every kind of one", function()
  local ids = m.tokenizer:ids(prompt)
  for _, input in ipairs { prompt, ids, { prompt = prompt }, { ids = ids }, { prompt = ids }, pl.tensor(ids, { dtype = "i32" }) } do
    t.equal(m:generate(input, greedy).ids, best.ids)
  end
  for _, list in ipairs { { prompt }, { ids }, { { prompt = prompt } }, pl.batch { ids }, m.tokenizer:encode(prompt) } do
    local results = m:generate(list, greedy)
    t.equal(#results, 1)
    t.equal(results[1].ids, best.ids)
  end
  local three = m:generate({ "The", { ids = ids, max_new_tokens = 2 }, ids }, greedy)
  t.equal({ #three[1].ids, three[2].ids, three[3].ids }, { 8, { best.ids[1], best.ids[2] }, best.ids })
end)

t.test("strange prompts", function()
  for _, input in ipairs { 7, true, print, {}, { {} }, { 1, "a" }, { 1.5 }, { -1 }, { 99999 }, { 1, nan }, { prompt = "" , ids = {} }, { prompt = 7 },
    { ids = {} }, { ids = "x" }, { prompt = {} }, { messages = {} }, { text = "x" }, { { prompt = "x", sed = 1 } }, { prompt, false }, { prompt, 7 },
    { prompt, { prompt, prompt } }, m, best } do
    local fine, err = pcall(m.generate, m, input, greedy)
    if not fine then
      t.equal(type(err), "table", tostring(err))
    elseif #err > 0 then   -- {} is a list of none
      t.equal({ err[#err].finish_reason, type(err[#err].error) }, { "error", "string" })
    end
  end
  t.raises_table(function() m:generate() end, "nil")
  t.raises_table(function() m:generate({ { prompt = "x", sed = 1 } }) end, "sed", "seed")
end)

t.test("strange options", function()
  for key, values in pairs {
    max_new_tokens = { -1, 1.5, nan, inf, "5", {}, true, 2 ^ 40 }, min_new_tokens = { -1, "x" }, max_length = { 0, -3 }, do_sample = { 1, "false" },
    temperature = { 0, -1, nan, inf, "hot" }, top_k = { -1, 1.5 }, top_p = { 0, 1.1, -1, nan }, min_p = { -0.1, 1.1, nan },
    repetition_penalty = { 0, -1, nan, inf }, seed = { 0.5, nan, inf, "7" }, stop = { "", 7, { "" }, { 7 }, { a = "x" } },
    eos_token_id = { "x", { "x" }, -1, { 1.5 } }, logprobs = { -1, "all" }, n = { 0, -1, 1.5 }, context = { "wrap", 7 }, processors = { 7, { 7 } },
    stop_when = { true, "x" }, on_token = { 7 }, policy = { 7, "fifo", {} }, client = { 7 }, num_beams = { 0, 1.5 }, truncate = { true },
    budget_ms = { 5 }, [1] = { "x" },
  } do
    for _, value in ipairs(values) do
      local fine, err = pcall(m.generate, m, prompt, { [key] = value, max_new_tokens = key ~= "max_new_tokens" and key ~= "max_length" and 1 or nil,
        [key] = value })
      t.ok(not fine, ("%s = %s was taken"):format(tostring(key), tostring(value)))
      t.equal(type(err), "table", tostring(err))
      t.ok(err.message:find(key == 1 and "1" or key, 1, true) or key == "policy", err.message)
    end
  end
  t.equal(#m:generate(prompt, with { logprobs = 99999, max_new_tokens = 1 }).top_logprobs[1], 2048)
end)

t.test("only keys of the caller contradict each other", function()
  t.equal(m:generate(prompt, with { top_k = 0 }).ids, best.ids)
  t.ok(m:generate(prompt, { num_beams = 4, max_new_tokens = 2 }).score)   -- the file says do_sample
  t.raises_table(function() m:generate(prompt, { do_sample = false, min_p = 0.1 }) end, "do_sample", "min_p")
  t.raises_table(function() m:generate({ prompt = prompt, temperature = 2 }, greedy) end, "do_sample", "temperature")
  t.equal(#m:generate(prompt, { do_sample = false, max_length = 7 }).ids, 7 - best.prompt_tokens)
  t.equal(m:generate({ prompt = prompt, max_new_tokens = 2 }, { do_sample = false, eos_token_id = {} }).ids, { best.ids[1], best.ids[2] })
end)

t.test("seeds: the same, another, the one that was drawn; never the neighbours'", function()
  local o = { max_new_tokens = 12, temperature = 1.2, seed = 11, eos_token_id = {} }
  local alone = m:generate(prompt, o)
  t.equal(alone.seed, 11)
  t.equal(m:generate({ "The", prompt, "A" }, o)[2].ids, alone.ids)
  t.equal(m:generate({ { prompt = prompt, seed = 5 }, prompt }, o)[2].ids, alone.ids)
  local drawn = m:generate({ prompt, prompt }, { max_new_tokens = 12, do_sample = true, eos_token_id = {} })
  t.ok(drawn[1].seed ~= drawn[2].seed)
  t.equal(m:generate(prompt, { max_new_tokens = 12, do_sample = true, eos_token_id = {}, seed = drawn[2].seed }).ids, drawn[2].ids)
  t.ok(m:generate(prompt, { seed = -5, max_new_tokens = 1 }).seed == -5)
end)

t.test("log-probabilities, before processors", function()
  local banned = best.ids[1]
  local r = m:generate(prompt, with { logprobs = 2, processors = { function(row) row:set(-inf, { vocab = banned }) end } })
  t.ok(r.ids[1] ~= banned)
  t.equal({ r.top_logprobs[1][1].id, #r.top_logprobs, #r.logprobs, #r.top_logprobs[8] }, { banned, 8, 8, 2 })
  t.ok(r.logprobs[1] < r.top_logprobs[1][1].logprob)
  t.equal(#m:generate(prompt, with { logprobs = 0 }).logprobs, 8)
  t.equal(#m:generate(prompt, with { logprobs = true }).logprobs, 8)
  t.equal(m:generate(prompt, with { logprobs = false }).logprobs, nil)
  local sum = 0
  for _, one in ipairs(m:generate(prompt, with { logprobs = 2048, max_new_tokens = 1 }).top_logprobs[1]) do sum = sum + math.exp(one.logprob) end
  t.near(sum, 1, 1e-3)
end)

t.test("several answers: sequences with text, ids and score", function()
  local r = m:generate(prompt, { n = 2, seed = 5, max_new_tokens = 6, eos_token_id = {}, do_sample = true })
  t.equal({ #r.sequences, r.sequences[1].text, r.sequences[1].ids }, { 2, r.text, r.ids })
  for _, one in ipairs(r.sequences) do t.equal({ type(one.text), #one.ids, type(one.score) }, { "string", 6, "number" }) end
  t.equal(#m:generate({ prompt, "The" }, { num_return_sequences = 3, seed = 1, max_new_tokens = 2 })[2].sequences, 3)
end)

t.test("processors: what they see, what they may do", function()
  local seen = {}
  local r = m:generate(prompt, with { processors = function(row, state)
    seen[#seen + 1] = { row.rank, row.shape.vocab, #state.ids, state.text, state.step, state.request.id, state.request.state }
  end })
  t.equal(r.ids, best.ids)
  t.equal(#seen, 8)
  t.equal({ seen[1][1], seen[1][2], seen[1][3], seen[1][4], seen[1][7] }, { 1, 2048, best.prompt_tokens, "", "running" })
  t.equal({ seen[3][3], seen[3][5] - seen[1][5] }, { best.prompt_tokens + 2, 2 })
  t.equal(m:generate(prompt, with { processors = { function(row) row:set(100, { vocab = 300 }) end, function(row) row:set(200, { vocab = 301 }) end } }).ids[1], 301)
  t.equal(m:generate(prompt, with { processors = function(row) return row * -1 end, max_new_tokens = 1 }).finish_reason, "length")
  t.equal(m:generate(prompt, with { processors = {} }).ids, best.ids)
  for _, rubbish in ipairs { "x", 7, false, {} } do t.equal(m:generate(prompt, with { processors = function() return rubbish end }).ids, best.ids) end
  for name, bad in pairs {
    ["raises"] = function() error "broken" end, ["a table"] = function() error { reason = "broken" } end, ["nothing"] = function() error() end,
    ["frees"] = function(row) row:free() end, ["wrong size"] = function() return pl.ones { 3 } end, ["nan"] = function(row) row:set(nan) end,
    ["all out"] = function(row) row:set(-inf) end, ["yields"] = function() coroutine.yield() end,
    ["writes beyond"] = function(row) row:set(1, { vocab = 2048 }) end,
  } do
    local failed = m:generate({ prompt, { prompt = prompt, processors = bad }, prompt }, greedy)
    t.equal({ failed[2].finish_reason, type(failed[2].error) }, { "error", "string" }, name)
    t.ok(not failed[2].error:find("out of memory", 1, true), failed[2].error)
    t.equal({ failed[1].ids, failed[3].ids }, { best.ids, best.ids }, name)              -- the neighbours notice nothing
  end
  local kept
  m:generate(prompt, with { processors = function(row) kept = row end })
  collectgarbage()
  pcall(kept.tolist, kept)
end)

t.test("stop_when and on_token: what they see, what they break", function()
  local texts, at = {}, {}
  local r = m:generate(prompt, with { on_token = function(text, event) texts[#texts + 1] = text t.equal(event.kind, "token") end,
    stop_when = function(state) at[#at + 1] = state.text return state.text:find(" ", 2, true) and "a word" end })
  t.equal({ r.finish_reason, r.stop, table.concat(texts) }, { "stop", "a word", r.text })
  t.equal(at[#at], r.text)
  t.equal(m:generate(prompt, with { stop_when = function() return true end }).finish_reason, "stop")
  t.equal(#m:generate(prompt, with { stop_when = function() return nil end }).ids, 8)
  for _, key in ipairs { "stop_when", "on_token" } do
    for _, bad in ipairs { function() error "broken" end, function() error { my = "table" } end, function() error() end, function() coroutine.yield() end,
      function() local _ = nil + 1 end } do
      local failed = m:generate({ { prompt = prompt, [key] = bad }, prompt }, greedy)
      t.equal({ failed[1].finish_reason, type(failed[1].error), failed[2].ids }, { "error", "string", best.ids }, key)
    end
  end
end)

t.test("callbacks that take the state apart harm nobody", function()
  local r = m:generate(prompt, with { stop_when = function(state)
    state.ids, state.text, state.step, state.request = nil, nil, nil, nil
    return false
  end })
  t.equal(r.ids, best.ids)
  r = m:generate(prompt, with { stop_when = function(state) for i = #state.ids, 1, -1 do state.ids[i] = nil end end })
  t.equal(r.ids, best.ids)
  r = m:generate(prompt, with { on_token = function(_, event) event.text, event.kind = nil, nil end })
  t.equal(r.ids, best.ids)
  local function sink(f) return with { on_token = f } end
  t.equal(m:generate(prompt, sink(function() collectgarbage() end)).ids, best.ids)
  t.equal(m:generate(prompt, sink(function() m:generate("The", greedy) m:forward { 1, 5 } end)).ids, best.ids)
  t.equal(m:generate(prompt, sink(function() for _ in m:stream("The", greedy) do break end end)).ids, best.ids)
end)

t.test("streams: iterators made for `for`", function()
  local pieces, events = {}, {}
  local s = m:stream(prompt, greedy)
  for piece, event in s do
    pieces[#pieces + 1], events[#events + 1] = piece, event
    t.equal({ type(piece), event.kind, event.text }, { "string", "token", piece })
  end
  t.equal({ table.concat(pieces), s:result().ids, s() }, { best.text, best.ids })
  s:cancel()
  t.equal(s:result().finish_reason, "length")
  t.equal(m:stream({ prompt }, greedy):result().ids, best.ids)
  local two, text = { m:stream(prompt, greedy), m:stream("The", greedy) }, { "", "" }
  for _ = 1, 20 do for i = 1, 2 do text[i] = text[i] .. (two[i]() or "") end end
  t.equal(text, { best.text, m:generate("The", greedy).text })
  local early = m:stream(prompt, greedy)
  early:cancel()
  t.equal({ early(), early:result().finish_reason }, { nil, "cancelled" })
  t.raises_table(function() m:stream({ prompt, prompt }, greedy) end, "2")
  t.raises_table(function() m:stream(prompt, { max_new_token = 1 }) end, "max_new_tokens")
  t.raises_table(function() m:stream() end, "stream")
  t.raises_table(function() m:stream({}) end, "stream")
  t.raises_table(function() return s.cansel, 1 end, "cancel")
  t.equal(#m:stream(prompt, with { max_new_tokens = 0 }):result().ids, 0)
  local failed = m:stream(prompt, with { processors = function() error "broken" end })
  t.raises_table(function() for _ in failed do end end, "broken")
  t.equal(failed:result().finish_reason, "error")   -- it was raised once; the result is there
  t.raises_table(function() m:stream(prompt, with { on_token = function() error "broken" end }):result() end, "broken")
end)

t.test("streams in coroutines, cancelled from callbacks, dropped half-way", function()
  local walk = coroutine.wrap(function() for piece in m:stream(prompt, greedy) do coroutine.yield(piece) end end)
  local text = {}
  for piece in walk do text[#text + 1] = piece collectgarbage() end
  t.equal(table.concat(text), best.text)
  local s
  s = m:stream(prompt, with { on_token = function() s:cancel() end })
  for _ in s do end
  t.equal(s:result().finish_reason, "cancelled")
  s = nil
  collectgarbage()
  collectgarbage()
  local used = m:memory().cache
  for _ = 1, 5 do
    local abandoned = coroutine.wrap(function() for piece in m:stream(prompt, with { max_new_tokens = 400 }) do coroutine.yield(piece) end end)
    abandoned()
    for _ in m:stream(prompt, with { max_new_tokens = 400 }) do break end
  end
  collectgarbage()
  collectgarbage()
  t.equal(m:memory().cache, used)
end)

t.test("the context", function()
  local ids = { 1 }
  for i = 2, 520 do ids[i] = 300 + i end
  t.equal(t.raises_table(function() m:generate(ids, with { context = "error" }) end, "520", "512").code, "length")
  local pair = m:generate({ prompt, ids }, greedy)
  t.equal({ pair[1].ids, pair[2].error_code }, { best.ids, "length" })
  local r = m:generate({ { ids = ids, context = "truncate_left" }, prompt }, greedy)
  t.equal({ #r[1].ids, r[2].ids }, { 8, best.ids })
  t.equal(m:generate(ids, with { context = "truncate_left", max_new_tokens = 10000 }).finish_reason ~= "error", true)
end)

t.test("no tokenizer: ids in, ids out", function()
  local bare = pl.load(tales, { tokenizer = false, compute = "f32" })
  local r = bare:generate(m.tokenizer:ids(prompt), greedy)
  t.equal({ r.ids, r.text }, { best.ids, nil })
  local count = 0
  for piece, event in bare:stream(m.tokenizer:ids(prompt), greedy) do
    count = count + 1
    t.equal({ piece, event.id }, { "", best.ids[count] })
  end
  t.equal(count, 8)
  t.raises_table(function() bare:generate({ 1, 5 }, { stop = "x" }) end, "tokenizer")
end)

t.test("hooks act in generation", function()
  local hook = m:hook("layers.1", function(x) return x * 0 end)
  local calls = 0
  local other = m:hook("layers.0", function() calls = calls + 1 end)
  t.equal(m:generate(prompt, greedy).error, nil)
  t.equal(m:stream(prompt, greedy):result().error, nil)
  t.ok(calls > 2)
  other:remove()
  hook:remove()
  t.equal(m:generate(prompt, greedy).ids, best.ids)
end)
