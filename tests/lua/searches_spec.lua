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
  local own = { do_sample = case.search ~= "contrastive" and false or nil, eos_token_id = {} }
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
  local engine = pl.engine(m, { worker = true })
  t.raises_text(function() engine:submit(prompt, { guidance_scale = 2 }) end, "guidance_scale", "worker")
  engine:close()
  said({ negative_prompt_ids = { 5 } }, "negative_prompt")
  said({ assistant_model = m }, "assistant_model", "draft = a smaller model")
  local two = pl.load "tests/golden/bart-plain"
  for _, own in ipairs { { guidance_scale = 2 }, { penalty_alpha = 0.5, top_k = 4 } } do
    t.equal(t.raises_text(function() two:generate({ 5, 6 }, own) end, "encoder-decoder").code, "unsupported")
  end
end)
