-- generate, stream, score: options, defaults, contradictions, results, streaming, cancelling.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"
local folder_of = require "folder_of"

local tales = "scripts/models/tales"
local m = pl.load(tales, { compute = "f32" })
local prompt = "Once upon a time"
local greedy = { max_new_tokens = 12, do_sample = false }

local function with(more) return t.with(greedy, more) end

t.test("one in, one out; a list in, a list out", function()
  local one = m:generate(prompt, greedy)
  t.equal(type(one.text), "string")
  t.equal(#one.ids, 12)
  t.equal(one.prompt_tokens, #m.tokenizer:ids(prompt))
  t.equal(one.finish_reason, "length")
  t.ok(one.timings.prefill_ms >= 0 and one.timings.decode_ms >= 0 and one.timings.tokens_per_s > 0)
  local list = m:generate({ prompt, "The", prompt }, greedy)
  t.equal(#list, 3)
  t.equal(list[1].text, one.text)
  t.equal(list[3].ids, one.ids)
  t.equal(m:generate({}, greedy), {})
  t.equal(#m:generate({ prompt }, greedy), 1)
end)

t.test("kinds of prompt", function()
  local ids = m.tokenizer:ids(prompt)
  local one = m:generate(prompt, greedy)
  t.equal(m:generate(ids, greedy).ids, one.ids)
  t.equal(m:generate({ prompt = prompt, max_new_tokens = 12, do_sample = false }).ids, one.ids)
  t.equal(m:generate({ ids = ids }, greedy).ids, one.ids)
  t.equal(m:generate(m.tokenizer:encode { prompt, "The" }, greedy)[1].ids, one.ids)
  local mixed = m:generate({ prompt, ids, { prompt = prompt, max_new_tokens = 3 } }, greedy)
  t.equal(mixed[2].ids, one.ids)
  t.equal(#mixed[3].ids, 3)
  t.raises_text(function() m:generate { messages = { { role = "user", content = "hi" } } } end, "chat template")
  t.raises_text(function() m:generate { prompt = "x", ids = { 1 } } end, "one of")
  t.raises_text(function() m:generate { prompt = "x", max_new_token = 1 } end, "max_new_token", "max_new_tokens")
  t.raises_text(function() m:generate(12) end, "text")
  t.raises_text(function() m:generate { 1, 5000 } end, "5000")
end)

t.test("what cannot run in a list fails alone, with the reason in its result", function()
  local long = {}
  for i = 1, m.max_tokens + 1 do long[i] = 300 + i % 50 end
  local bad = { [2] = { 7, "argument", "text" }, [3] = { { 1, 5000 }, "argument", "5000" }, [5] = { long, "length", tostring(#long) },
    [6] = { { prompt = "x", ids = { 1 } }, "argument", "one of" }, [7] = { { prompt = "The", temperature = 0 }, "option", "temperature" } }
  local list = { prompt, false, false, "The", false, false, false, { prompt = prompt, max_new_tokens = 3 } }
  for i, case in pairs(bad) do list[i] = case[1] end
  local results = m:generate(list, greedy)
  for i = 1, #list do
    local r = results[i]
    if bad[i] then
      t.equal({ r.finish_reason, r.error_code, r.text, r.ids }, { "error", bad[i][2], "", {} })
      t.ok(r.error:find(bad[i][3], 1, true), r.error)
    else
      t.equal({ r.error, r.ids }, { nil, m:generate(list[i], greedy).ids })
    end
  end
  -- Alone there is nobody else to answer; options of the call, and keys that do not exist, are the call's mistake.
  t.equal(t.raises_table(function() m:generate(long, greedy) end, tostring(#long)).code, "length")
  t.raises_table(function() m:generate({ prompt, "The" }, { temperature = 0 }) end, "temperature", "do_sample = false")
  t.raises_table(function() m:generate { prompt, { prompt = "x", sed = 1 } } end, "sed", "seed")
end)

t.test("files give defaults, the caller overrides", function()
  local sampled = m:generate(prompt, { seed = 3, max_new_tokens = 30 })   -- the file samples at 0.8
  t.differ(sampled.ids, m:generate(prompt, with { max_new_tokens = 30 }).ids)
  t.equal(sampled.seed, 3)
  t.equal(m:generate(prompt, { seed = 3, max_new_tokens = 30 }).ids, sampled.ids)
  t.differ(m:generate(prompt, { seed = 4, max_new_tokens = 30 }).ids, sampled.ids)
  local free = m:generate(prompt, { max_new_tokens = 8 })
  t.equal(m:generate(prompt, { max_new_tokens = 8, seed = free.seed }).ids, free.ids)
end)

t.test("options that contradict each other, when the caller gave both", function()
  for _, pair in ipairs {
    { { do_sample = false, temperature = 0.5 }, "do_sample", "temperature" },
    { { do_sample = false, top_k = 5 }, "do_sample", "top_k" },
    { { do_sample = false, top_p = 0.5 }, "do_sample", "top_p" },
    { { max_new_tokens = 5, max_length = 9 }, "max_new_tokens", "max_length" },
    { { max_new_tokens = 5, min_new_tokens = 9 }, "5", "9" },
  } do
    local err = t.raises_text(function() m:generate(prompt, pair[1]) end, pair[2], pair[3], "contradict")
    t.equal(err.code, "option")
  end
  t.ok(m:generate(prompt, { do_sample = false, max_new_tokens = 2 }).text)   -- the file's temperature is no contradiction
end)

t.test("values out of range", function()
  t.raises_text(function() m:generate(prompt, { temperature = 0 }) end, "temperature", "do_sample")
  t.raises_text(function() m:generate(prompt, { top_p = 1.5 }) end, "top_p", "1.5")
  t.raises_text(function() m:generate(prompt, { repetition_penalty = 0 }) end, "repetition_penalty")
  t.raises_text(function() m:generate(prompt, { top_k = "many" }) end, "top_k", "many")
  t.raises_text(function() m:generate(prompt, { seed = 1.5 }) end, "seed")
  t.raises_text(function() m:generate(prompt, { stop = "" }) end, "stop")
  t.ok(m:generate(prompt, with { num_beams = 1, max_new_tokens = 1 }).text)
end)

-- What a search over `beams` finds, scored anew by the model: sums of log-probabilities.
local function logprob(ids, new)
  local all = {}
  for _, id in ipairs(ids) do all[#all + 1] = id end
  for _, id in ipairs(new) do all[#all + 1] = id end
  local scores, sum = m:score({ all })[1].token_logprobs, 0
  for i = #ids, #all - 1 do sum = sum + scores[i] end
  return sum
end

t.test("beams: best first, with their scores, alone or in company", function()
  local ids = m.tokenizer:ids(prompt)
  local r = m:generate(prompt, { num_beams = 5, num_return_sequences = 3, max_new_tokens = 10, length_penalty = 0, do_sample = false })
  t.equal(#r.sequences, 3)
  t.equal(r.text, r.sequences[1].text)
  for i, sequence in ipairs(r.sequences) do
    t.near(sequence.score, logprob(ids, sequence.ids), 1e-3)
    t.ok(i == 1 or sequence.score <= r.sequences[i - 1].score)
  end
  -- Beams of one request do not see another's.
  local both = m:generate({ prompt, "The dog" }, { num_beams = 5, num_return_sequences = 3, max_new_tokens = 10, length_penalty = 0, do_sample = false })
  t.equal(both[1].ids, r.ids)
end)

t.test("beams and what contradicts them", function()
  for key, value in pairs { do_sample = true, logprobs = 2, stop_when = function() end, on_token = print } do
    local options = { num_beams = 2, max_new_tokens = 2, do_sample = false }
    options[key] = value
    t.raises_text(function() m:generate(prompt, options) end, key, "num_beams")
  end
  t.raises_text(function() m:generate(prompt, { num_beams = 2, num_return_sequences = 3, do_sample = false }) end, "num_return_sequences")
  t.raises_text(function() m:generate(prompt, { num_beams = 2, early_stopping = "soon", do_sample = false }) end, "early_stopping")
end)

t.test("beams stop at a text, and stream their answer at the end", function()
  local options = { num_beams = 3, max_new_tokens = 24, do_sample = false }
  local r = m:generate(prompt, options)
  local word = r.text:match "%a%a%a+ (%a%a%a+)"
  t.ok(word)
  options.stop = word
  t.ok(not m:generate(prompt, options).text:find(word, 1, true))
  local joined = ""
  for piece in m:stream(prompt, { num_beams = 3, max_new_tokens = 24, do_sample = false }) do joined = joined .. piece end
  t.equal(joined, r.text)
end)

t.test("bans and biases", function()
  local best = m:generate(prompt, { do_sample = false, max_new_tokens = 8 })
  local id = best.ids[1]
  local function first(options)
    options.do_sample, options.max_new_tokens = false, 1
    return m:generate(prompt, options).ids[1]
  end
  t.ok(first { suppress_tokens = { id } } ~= id)
  t.ok(first { begin_suppress_tokens = { id } } ~= id)
  t.ok(first { bad_words_ids = { { id } } } ~= id)
  t.ok(first { sequence_bias = { { { id }, -50 } } } ~= id)
  t.equal(first { forced_eos_token_id = 5 }, 5)
  local r = m:generate(prompt, { do_sample = false, max_new_tokens = 60, no_repeat_ngram_size = 2 })
  local seen, all = {}, m.tokenizer:ids(prompt)
  for _, new in ipairs(r.ids) do all[#all + 1] = new end
  for i = 1, #all - 1 do
    local pair = all[i] .. " " .. all[i + 1]
    t.ok(not seen[pair], pair)
    seen[pair] = true
  end
  t.raises_text(function() first { bad_words_ids = { {} } } end, "bad_words_ids")
  t.raises_text(function() first { sequence_bias = { { 3 } } } end, "sequence_bias")
end)

t.test("sampling options narrow the choice", function()
  local best = m:generate(prompt, greedy).ids
  t.equal(m:generate(prompt, { max_new_tokens = 12, top_k = 1, seed = 9 }).ids, best)
  t.equal(m:generate(prompt, { max_new_tokens = 12, top_p = 1e-6, seed = 9 }).ids, best)
  t.equal(m:generate(prompt, { max_new_tokens = 12, min_p = 1, top_p = 1, seed = 9 }).ids, best)
  t.equal(m:generate(prompt, { max_new_tokens = 12, temperature = 1e-3, seed = 9 }).ids, best)
end)

t.test("ends: stop ids, stop strings, lengths", function()
  local long = m:generate(prompt, with { max_new_tokens = 60 })
  local word = long.text:match "^.-%s(%a%a%a%a%a+)"
  local cut = m:generate(prompt, with { max_new_tokens = 60, stop = word })
  t.equal(cut.finish_reason, "stop")
  t.equal(cut.stop, word)
  t.equal(cut.text, long.text:sub(1, long.text:find(word, 1, true) - 1))
  t.equal(m:generate(prompt, with { max_new_tokens = 60, stop = { "no such text", word } }).text, cut.text)
  local at_id = m:generate(prompt, with { eos_token_id = long.ids[5] })
  t.equal(at_id.finish_reason, "stop")
  t.ok(#at_id.ids <= 5)
  local least = m:generate(prompt, with { eos_token_id = long.ids[3], min_new_tokens = 6 })
  t.ok(#least.ids >= 6)
  t.equal(#m:generate(prompt, { do_sample = false, max_length = 9 }).ids, 9 - #m.tokenizer:ids(prompt))
  t.equal(#m:generate(prompt, with { max_new_tokens = 0 }).ids, 0)
end)

t.test("the context: an error, or the left side dropped", function()
  local ids = { 1 }
  for i = 2, 520 do ids[i] = 300 + i end
  local err = t.raises_text(function() m:generate(ids, greedy) end, "520", "512", "truncate_left")
  t.equal(err.code, "length")
  local result = m:generate(ids, with { context = "truncate_left", eos_token_id = {} })
  t.equal(#result.ids, 12)
  t.equal(result.lost, 20)
  t.equal(result.prompt_tokens, 500)
  local full = {}
  for i = 1, 510 do full[i] = ids[i] end
  local ended = m:generate(full, with { eos_token_id = {} })
  t.equal(ended.finish_reason, "context")
  t.equal(m:generate(ids, with { context = "slide", eos_token_id = {} }).lost, 20)
  t.raises_text(function() m:generate(ids, { context = "shrink" }) end, "shrink")
end)

t.test("log-probabilities", function()
  local result = m:generate(prompt, with { logprobs = 3, prompt_logprobs = true })
  t.equal(#result.logprobs, 12)
  t.equal(#result.top_logprobs[1], 3)
  t.equal(result.top_logprobs[1][1].id, result.ids[1])
  t.equal(result.top_logprobs[1][1].logprob, result.logprobs[1])
  t.ok(result.top_logprobs[1][1].logprob >= result.top_logprobs[1][2].logprob)
  local scored = m:score(prompt)
  t.equal(#scored.token_logprobs, #m.tokenizer:ids(prompt) - 1)
  t.near(scored.token_logprobs, result.prompt_logprobs, 1e-4)
  t.near(scored.perplexity, math.exp(-scored.logprob / #scored.token_logprobs), 1e-6)
  t.equal(#m:score(prompt, { top = 4 }).top[1], 4)
end)

t.test("several answers of one prompt", function()
  local result = m:generate(prompt, { n = 3, seed = 5, max_new_tokens = 10, eos_token_id = {} })
  t.equal(#result.sequences, 3)
  t.differ(result.sequences[1].ids, result.sequences[2].ids)
  t.equal(result.sequences[1].ids, m:generate(prompt, { seed = 5, max_new_tokens = 10, eos_token_id = {} }).ids)
end)

t.test("closures: processors, stop_when, on_token", function()
  local best = m:generate(prompt, greedy).ids
  local banned = m:generate(prompt, with { processors = { function(row) row:set(-math.huge, { vocab = best[1] }) end } })
  t.ok(banned.ids[1] ~= best[1])
  local seen = {}
  local result = m:generate(prompt, with {
    on_token = function(...) seen[#seen + 1] = select("#", ...) end,
    stop_when = function(state) return state.step >= 4 and "enough" or false end,
  })
  t.ok(#result.ids < 12)
  t.equal(result.finish_reason, "stop")
  t.equal(result.stop, "enough")
  t.equal(#seen, #result.ids)
  for _, key in ipairs { "stop_when", "on_token", "processors" } do
    local broken = with { [key] = function() error "broken closure" end }
    local err = t.raises_table(function() m:generate(prompt, broken) end, "broken closure", "generate_spec.lua")
    t.equal(err.op, key)
    local failed = m:generate({ prompt }, broken)[1]   -- in a list it is that prompt's result
    t.equal(failed.finish_reason, "error")
    t.ok(failed.error:find("broken closure", 1, true))
    local e = pl.engine(m)
    local line, other = e:submit(prompt, broken), e:submit(prompt, greedy)
    e:drain()
    t.equal({ line:result().finish_reason, other:result().ids }, { "error", best })
  end
  t.raises_table(function() m:generate { prompt = prompt, processors = { function() end, function() error { my = "own" } end } } end, "processors")
  t.equal(m:generate(prompt, greedy).ids, best)
end)

t.test("stream: the pieces joined are the text", function()
  local pieces, events = {}, 0
  local s = m:stream(prompt, { seed = 7, max_new_tokens = 40 })
  for piece, event in s do
    pieces[#pieces + 1] = piece
    if event.id then events = events + 1 end
  end
  local result = s:result()
  t.equal(table.concat(pieces), result.text)
  t.ok(events >= #result.ids - 1)
  t.equal(result.text, m:generate(prompt, { seed = 7, max_new_tokens = 40 }).text)
  t.equal(s(), nil)
end)

t.test("stream: cancelled, dropped, finished at once", function()
  local s = m:stream(prompt, with { max_new_tokens = 100, eos_token_id = {} })
  local count = 0
  for _ in s do
    count = count + 1
    if count == 5 then s:cancel() end
  end
  t.equal(count, 5)
  t.equal(s:result().finish_reason, "cancelled")
  t.ok(#s:result().ids < 100)
  local used = m:memory().cache
  local function begin_and_drop()
    for _ = 1, 20 do
      local dropped = m:stream(prompt, { max_new_tokens = 50 })
      t.equal(type(dropped()), "string")
    end
  end
  begin_and_drop()
  collectgarbage()
  collectgarbage()
  t.equal(m:memory().cache, used)
  t.equal(m:stream(prompt, greedy):result().ids, m:generate(prompt, greedy).ids)
  t.raises_text(function() m:stream({ "a", "b" }) end, "2")
end)

t.test("ids only, without a tokenizer", function()
  local bare = pl.load(tales, { tokenizer = false, compute = "f32" })
  local ids = m.tokenizer:ids(prompt)
  t.equal(bare:generate(ids, greedy).ids, m:generate(prompt, greedy).ids)
  t.raises_text(function() bare:generate(prompt) end, "tokenizer")
end)

t.test("golden: greedy and least lengths", function()
  for _, name in ipairs { "llama-gqa", "gpt2-plain" } do
    local folder = t.golden(name)
    local model = pl.load(folder, { compute = "f32" })
    local expected = core.read_json(folder .. "/expected.json")
    for _, set in ipairs(expected.generate) do
      if not set.options.num_beams and not set.options.no_repeat_ngram_size then
        for i, row in ipairs(set.results) do
          local result = model:generate(expected.prompts[i].ids, { do_sample = false, max_new_tokens = set.options.max_new_tokens,
            min_new_tokens = set.options.min_new_tokens, eos_token_id = set.options.eos_token_id })
          t.equal(result.ids, row.new_ids)
        end
      end
    end
  end
end)

t.test("a failing policy fails the call, and leaves nothing behind", function()
  local used, steps = m:memory().cache, 0
  t.raises_text(function()
    m:generate(prompt, with { policy = function(queue)
      steps = steps + 1
      return steps < 3 and { queue[1] } or error "no more"
    end })
  end, "no more")
  t.equal(steps, 3)
  collectgarbage()
  t.equal(m:memory().cache, used)
end)

t.test("a score is what prompt_logprobs says, however unlikely a token is", function()
  local model = pl.load(folder_of.llama(64, 20), { tokenizer = false })   -- one token is as good as certain: softmax underflows
  local rows = { { 5, 6, 7, 8 }, { 9 }, { 60, 3, 25 } }
  local scores = model:score(rows, { top = 2 })
  for i, ids in ipairs(rows) do
    local asked = model:generate({ ids = ids, max_new_tokens = 1, do_sample = false, prompt_logprobs = true }).prompt_logprobs or {}
    t.equal(#scores[i].tokens, #ids)
    t.equal(scores[i].tokens[1].logprob, false)
    t.equal(#scores[i].token_logprobs, #ids - 1)
    t.equal(#scores[i].top, #ids - 1)
    for j = 2, #ids do
      local own = scores[i].tokens[j].logprob
      t.ok(own > -math.huge and math.abs(own - asked[j - 1]) <= 1e-4 * math.abs(own), ("%g, %g"):format(own, asked[j - 1]))
    end
    local alone = model:score(ids)
    t.equal(alone.token_logprobs, scores[i].token_logprobs)
  end
  local lowest = math.min(unpack(scores[1].token_logprobs))
  t.ok(lowest < -110, "no token was unlikely enough to tell: " .. lowest)
end)

t.test("remove the folders", folder_of.remove_all)
