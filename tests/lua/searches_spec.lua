-- Groups of beams, contrastive search and guidance: what the published library answered (tests/judges/searches.py), alone
-- and in company; what goes together with them, and what is refused.
local pl = require "perilune"
local t = require "spec"

local file = assert(io.open "tests/lua/searches_expected.json")
local expected = pl.json.decode(file:read "*a")
file:close()

local by_model = {}
for _, case in ipairs(expected.cases) do
  local list = by_model[case.model] or {}
  by_model[case.model] = list
  list[#list + 1] = case
end

local function options_of(case)
  local own = { do_sample = case.search ~= "contrastive" and false or nil, eos_token_id = {}, pad_token_id = 0 }   -- as it was asked
  for key, value in pairs(case.options) do own[key] = value end
  return own
end

local function check(case, result, label)
  t.equal(result.error, nil, label)
  if case.search ~= "groups" then return t.equal(result.ids, case.answers[1], label) end
  for i, ids in ipairs(case.answers) do
    local one = result.sequences and result.sequences[i] or result
    t.equal(one.ids, ids, ("%s, answer %d"):format(label, i))
    if result.sequences then t.near(one.score, case.scores[i], 2e-4, label) end
  end
end

for name, cases in pairs(by_model) do
  t.test(name .. ": as published, alone and in company", function()
    local m = pl.load("tests/golden/" .. name, { compute = "f32" })
    local prompts = {}
    for i, case in ipairs(cases) do
      local own = options_of(case)
      check(case, m:generate(case.ids, own), ("%s %d"):format(case.search, i))
      own.ids = case.ids
      prompts[i] = own
    end
    local together = m:generate(prompts, { policy = pl.policy.token_budget { tokens = 24 } })
    for i, case in ipairs(cases) do check(case, together[i], ("%s %d in company"):format(case.search, i)) end
    m:close()
  end)
end

local m = pl.load("scripts/models/tales", { compute = "f32" })
local prompt = "Once upon a time"

t.test("they compose: guesses, grammars, stops, streams, several outputs, caches", function()
  local looked = { penalty_alpha = 0.6, top_k = 4, max_new_tokens = 24 }
  local plain = m:generate(prompt, looked)
  t.differ(plain.ids, m:generate(prompt, { do_sample = false, max_new_tokens = 24 }).ids)
  t.equal(m:generate(prompt, t.with(looked, { prompt_lookup_num_tokens = 4 })).ids, plain.ids)
  local pieces = {}
  for piece in m:stream(prompt, looked) do pieces[#pieces + 1] = piece end
  t.equal(table.concat(pieces), plain.text)
  local cache = m:cache()
  local first = m:generate(prompt, t.with(looked, { max_new_tokens = 9, cache = cache }))
  t.equal(first.ids, { unpack(plain.ids, 1, 9) })
  t.ok(m:generate(prompt, t.with(looked, { regex = " [a-m ]+" })).text:find "^ [a-m ]+$")

  local louder = { guidance_scale = 2, negative_prompt = "The old house", max_new_tokens = 16, do_sample = false }
  local guided = m:generate(prompt, louder)
  t.differ(guided.ids, m:generate(prompt, { do_sample = false, max_new_tokens = 16 }).ids)
  t.equal(m:generate(prompt, t.with(louder, { prompt_lookup_num_tokens = 3 })).ids, guided.ids)
  t.equal(m:generate(prompt, t.with(louder, { negative_prompt = m.tokenizer:ids "The old house" })).ids, guided.ids)
  local both = m:generate(prompt, t.with(louder, { do_sample = nil, seed = 5, temperature = 1, n = 3 }))
  for i, one in ipairs(both.sequences) do
    t.equal(one.ids, m:generate(prompt, t.with(louder, { do_sample = nil, seed = 5, temperature = 1, n = 3 })).sequences[i].ids)
  end
  t.equal(m:generate(prompt, t.with(louder, { num_beams = 1 })).ids, guided.ids)
  t.ok(m:generate(prompt, t.with(louder, { num_beams = 3 })).text)
  local raw = m:generate(prompt, t.with(louder, { logprobs = 1, max_new_tokens = 1 }))
  t.near(raw.top_logprobs[1][1].logprob, m:generate(prompt, { do_sample = false, logprobs = 1, max_new_tokens = 1 }).top_logprobs[1][1].logprob, 1e-6)
end)

t.test("what they hold beside the answer is given back when it is there", function()
  local own = pl.load("scripts/models/tales", { compute = "f32" })
  for _, options in ipairs { { guidance_scale = 2, n = 2 }, { penalty_alpha = 0.6, top_k = 4 }, { guidance_scale = 2, num_beams = 3, do_sample = false } } do
    own:generate({ prompt, "The river" }, t.with({ max_new_tokens = 5 }, options))
    t.equal(own:memory().cache, 0)
  end
  local engine = pl.engine(own)
  local line = engine:submit(prompt, { penalty_alpha = 0.6, top_k = 4, max_new_tokens = 3 })
  engine:drain()
  t.equal(#line:result().ids, 3)
  engine:submit(prompt, { max_new_tokens = 1 })
  engine:drain()
  t.equal(own:memory().cache, 0)
  engine:close()
  own:close()
end)

t.test("their rows are those of the engine's steps: counted, in one pass with others, on a thread of its own, too", function()
  local alone = m:generate(prompt, { penalty_alpha = 0.6, top_k = 4, max_new_tokens = 6 }).ids
  local plain = { m:generate("The river", { do_sample = false, max_new_tokens = 6, eos_token_id = {} }).ids,
    m:generate("The river", { do_sample = false, max_new_tokens = 6, eos_token_id = {}, guidance_scale = 2 }).ids }
  local seen = {}
  local engine = pl.engine(m, { policy = function(queue, room)
    local rows = 0
    for i, entry in ipairs(queue) do
      rows = rows + entry.rows
      seen[entry.rows] = true
      queue[i] = { entry, tokens = math.min(entry.pending_tokens, 7) }
    end
    t.ok(rows <= room.rows)
    return queue
  end })
  local lines = { engine:submit(prompt, { penalty_alpha = 0.6, top_k = 4, max_new_tokens = 6 }),
    engine:submit("The river", { do_sample = false, max_new_tokens = 6, eos_token_id = {} }),
    engine:submit("The river", { do_sample = false, max_new_tokens = 6, eos_token_id = {}, guidance_scale = 2 }) }
  engine:drain()
  t.equal(lines[1]:result().ids, alone)
  t.equal({ lines[2]:result().ids, lines[3]:result().ids }, plain)
  t.ok(seen[4] and seen[2] and seen[1])   -- candidates, two texts, one
  local stats = engine:stats()
  engine:close()
  local ids = #m.tokenizer:ids(prompt)
  t.ok(stats.tokens > ids + 6 * 4 + 2 * 6, stats.tokens)
  local worker = pl.engine(m, { worker = true })
  local line = worker:submit(prompt, { penalty_alpha = 0.6, top_k = 4, max_new_tokens = 6 })
  local other = worker:submit("The river", { do_sample = false, max_new_tokens = 6, eos_token_id = {}, guidance_scale = 2 })
  worker:drain()
  t.equal({ line:result().ids, other:result().ids }, { alone, plain[2] })
  worker:close()
end)

t.test("their pages are counted: what does not fit is refused, what lacks some waits or gives way, and answers stay", function()
  local list, alone = {}, {}
  for i = 1, 6 do
    local ids = {}
    for k = 1, 40 + 9 * i do ids[k] = (i * 31 + k * 7) % 200 + 3 end
    list[i] = t.with(i % 2 == 0 and { penalty_alpha = 0.6, top_k = 5 } or { guidance_scale = 2, negative_prompt = { unpack(ids, 5, 40) }, do_sample = false },
      { ids = ids, max_new_tokens = 40, eos_token_id = {} })
    alone[i] = m:generate(list[i]).ids
  end
  local page = m:memory().cache_per_token * 64
  local tight = pl.engine(m, { memory = 16 * page })
  local lines = {}
  for i, one in ipairs(list) do lines[i] = tight:submit(one) end
  local most = 0
  while not tight:idle() do
    tight:step()
    most = math.max(most, tight:stats().cache_bytes)
  end
  t.ok(most <= 16 * page)
  for i, line in ipairs(lines) do t.equal(line:result().ids, alone[i], i) end
  tight:close()
  local small = pl.engine(m, { memory = page })
  small:submit { ids = { unpack(list[1].ids, 1, 60) }, max_new_tokens = 1 }
  t.raises_text(function() small:submit(t.with(list[1], { negative_prompt = list[1].ids })) end, "keys and values", "bytes")
  small:close()
end)

t.test("no guess is made while one of two texts is computed again", function()
  local ids = { 40, 41, 42, 40, 41, 42, 40, 41, 42, 40, 41 }
  local own = { ids = ids, guidance_scale = 1.5, negative_prompt = { 9 }, draft = pl.load("scripts/models/tales", { compute = "f32" }), draft_tokens = 3, do_sample = false,
    max_new_tokens = 12, eos_token_id = {}, reuse = false }
  local alone = m:generate(own).ids
  for after = 1, 8 do
    local taken
    local engine = pl.engine(m, { policy = function(queue)
      local entry = queue[1]
      if not taken and entry.new_tokens >= after then
        taken = true
        return { preempt = { entry } }
      end
      local again = taken and entry.state ~= "decode" and entry.pending_tokens > 1
      return { again and { entry, tokens = entry.pending_tokens - 1 } or entry }
    end })
    engine:set_more(true)
    local line = engine:submit(own)
    for _ = 1, 60 do engine:step() end
    t.equal({ line:result().error, line:result().ids }, { nil, alone }, after)
    engine:close()
  end
end)

t.test("an encoder-decoder's answer is held against that of another source", function()
  local two = pl.load("tests/golden/t5-gated-untied", { compute = "f32" })
  local source, other, scale = { 40, 51, 62, 73, 84 }, { 90, 12, 33 }, 1.7
  local function by_hand(negative)
    local ids = {}
    for _ = 1, 7 do
      local with, without = unpack(two:forward({ source, negative }, { decoder = { 0, unpack(ids) }, rows = "last" }).logits:log_softmax "vocab":tolist())
      local best, found = -math.huge, 0
      for id = 1, #with - 4 do   -- the last rows are no tokens
        local score = scale * (with[id] - without[id]) + without[id]
        if score > best then best, found = score, id - 1 end
      end
      ids[#ids + 1] = found
    end
    return ids
  end
  local own = { guidance_scale = scale, max_new_tokens = 7, eos_token_id = {}, do_sample = false }
  t.equal(two:generate(source, t.with(own, { negative_prompt = other })).ids, by_hand(other))
  t.equal(two:generate(source, own).ids, by_hand { source[#source] })
  t.ok(two:generate(source, t.with(own, { num_beams = 2 })).ids)
  t.equal(two:memory().cache, 0)
end)

t.test("groups: other policies and pieces, processors that see their beam", function()
  local own = { num_beams = 6, num_beam_groups = 3, diversity_penalty = 0.7, num_return_sequences = 4, do_sample = false, max_new_tokens = 10 }
  local alone = m:generate(prompt, own)
  for _, policy in ipairs { pl.policy.shortest_first(), pl.policy.token_budget { tokens = 8 } } do
    local again = m:generate({ prompt, t.with(own, { prompt = "The river" }), t.with(own, { prompt = prompt }) }, { policy = policy, max_new_tokens = 10 })[3]
    for i, one in ipairs(alone.sequences) do
      t.equal(again.sequences[i].ids, one.ids)
      t.equal(again.sequences[i].score, one.score)
    end
  end
  local seen = {}
  local result = m:generate(prompt, t.with(own, { processors = function(_, state)
    t.equal(#state.ids, state.prompt_tokens + state.step)
    seen[table.concat(state.ids, " ", state.prompt_tokens + 1)] = state.text
  end }))
  for _, one in ipairs(result.sequences) do   -- all that it went through was shown, with its text
    for length = 0, #one.ids - 1 do
      local ids = { unpack(one.ids, 1, length) }
      t.ok(one.text:sub(1, #seen[table.concat(ids, " ")]) == seen[table.concat(ids, " ")])
    end
  end
  t.raises_text(function() m:generate(prompt, t.with(own, { processors = function() error "mine" end })) end, "mine")
end)

t.test("what a file says gives way, what a caller says contradicts", function()
  local function said(options, ...) t.raises_text(function() m:generate(prompt, options) end, ...) end
  said({ num_beam_groups = 2, num_beams = 3, diversity_penalty = 1, do_sample = false }, "2 groups do not divide 3 beams")
  said({ num_beam_groups = 2, num_beams = 4, do_sample = false }, "without diversity_penalty")
  said({ num_beam_groups = 2, diversity_penalty = 1, do_sample = false }, "goes with num_beams")
  said({ num_beams = 2, diversity_penalty = 1, do_sample = false }, "goes with num_beam_groups")
  said({ num_beams = 4, num_beam_groups = 2, diversity_penalty = 1, do_sample = true }, "contradict")
  said({ num_beams = 4, num_beam_groups = 2, diversity_penalty = -1, do_sample = false }, "diversity_penalty: expected 0 (off) or more")
  said({ penalty_alpha = 0.6, do_sample = true }, "penalty_alpha", "does not draw")
  said({ penalty_alpha = 0.6, temperature = 2 }, "penalty_alpha", "does not draw")
  said({ penalty_alpha = 0.6, num_beams = 2 }, "penalty_alpha", "num_beams=2")
  said({ penalty_alpha = 0.6, n = 2 }, "finds one answer")
  said({ penalty_alpha = 0.6, top_k = 0 }, "no candidates")
  said({ penalty_alpha = 1.5 }, "penalty_alpha: expected a number from 0 (off) to 1")
  said({ penalty_alpha = 0.6, top_k = 4, context = "slide" }, "contradict")
  said({ guidance_scale = 2, context = "slide" }, "contradict")
  said({ negative_prompt = "no" }, "goes with guidance_scale")
  said({ guidance_scale = 2, negative_prompt = {} }, "no tokens")
  said({ guidance_scale = 2, negative_prompt = { 1e6 } }, "no embedding row")
  said({ negative_prompt_ids = { 5 } }, "negative_prompt")
  said({ assistant_model = m }, "assistant_model", "draft = a smaller model")
end)
