-- Options that other programs have: each does what it says, composes with batches, and is refused where it makes no sense.
local pl = require "perilune"
local t = require "spec"

local m = pl.load("scripts/models/tales", { compute = "f32" })
local prompt = "Once upon a time"
local greedy = { max_new_tokens = 24, do_sample = false }
local plain = m:generate(prompt, greedy)

local drawn = {
  { top_n_sigma = 1 }, { top_h = 0.5 }, { xtc_probability = 0.5, xtc_threshold = 0.05 }, { dynatemp_range = 0.7, dynatemp_exponent = 2 },
  { mirostat = 2, mirostat_tau = 3, mirostat_eta = 0.2 }, { frequency_penalty = 0.7, temperature = 1 }, { presence_penalty = 1.5, top_k = 30 },
  { dry_multiplier = 0.8, dry_allowed_length = 1, temperature = 1.1 },
}

t.test("every rule draws, by itself and among others the same", function()
  local prompts = {}
  for i, own in ipairs(drawn) do
    prompts[#prompts + 1] = t.with(own, { prompt = prompt, seed = i, max_new_tokens = 16 })
    prompts[#prompts + 1] = { prompt = "The", do_sample = true, seed = i, max_new_tokens = 16 }
  end
  local together = m:generate(prompts)
  for i, one in ipairs(prompts) do
    t.equal(together[i].error, nil)
    t.equal(m:generate(one).ids, together[i].ids, "prompt " .. i)
  end
end)

t.test("several outputs of mirostat each keep their own bound", function()
  local own = { mirostat = 2, mirostat_eta = 1, seed = 9, max_new_tokens = 12, n = 3 }
  local first, again = m:generate(prompt, own), m:generate(prompt, own)
  for i, one in ipairs(first.sequences) do t.equal(one.ids, again.sequences[i].ids) end
  t.differ(first.sequences[1].ids, first.sequences[2].ids)
  t.equal(m:generate(prompt, t.with(own, { n = 1 })).ids, first.sequences[1].ids)
end)

t.test("a strong bar leaves the best", function()
  for _, own in ipairs { { top_n_sigma = 1e-6 }, { top_h = 1e-9 } } do
    t.equal(m:generate(prompt, t.with(own, { max_new_tokens = 24, seed = 3 })).ids, plain.ids)
  end
end)

t.test("penalties of presence and frequency repeat less, greedily too", function()
  local function most(ids)
    local count, best = {}, 0
    for _, id in ipairs(ids) do
      count[id] = (count[id] or 0) + 1
      best = math.max(best, count[id])
    end
    return best
  end
  local own = { max_new_tokens = 60, do_sample = false, eos_token_id = {} }
  t.ok(most(m:generate(prompt, own).ids) > 2)
  t.equal(most(m:generate(prompt, t.with(own, { presence_penalty = 1000 })).ids), 1)
  t.ok(most(m:generate(prompt, t.with(own, { frequency_penalty = 1000 })).ids) == 1)
end)

t.test("DRY ends a run that was there before", function()
  local ids = m.tokenizer:ids "the cat and the dog and the"
  local function next_of(more) return m:generate(ids, t.with({ max_new_tokens = 1, do_sample = false }, more)) end
  local cat, dog = ids[3], ids[6]
  local function scores(more)
    local seen
    next_of(t.with(more, { processors = function(row) seen = row:tolist() end }))
    return seen
  end
  local before, after = scores {}, scores { dry_multiplier = 3, dry_base = 2, dry_allowed_length = 2 }
  t.near(before[dog + 1] - after[dog + 1], 3, 1e-4)   -- " and the" stood before it
  t.near(before[cat + 1], after[cat + 1], 1e-6)
  local broken = scores { dry_multiplier = 3, dry_base = 2, dry_allowed_length = 2, dry_sequence_breakers = { "and" } }
  t.near(before[dog + 1], broken[dog + 1], 1e-6)
end)

t.test("texts that never occur, whatever tokens would write them", function()
  local first = plain.text:match "%a%a%a%a+"
  for _, own in ipairs { { do_sample = false }, { seed = 1, temperature = 1.5 }, { do_sample = false, num_beams = 3 } } do
    for _, word in ipairs { first, "e", " the", "a b" } do
      local result = m:generate(prompt, t.with(own, { bad_words = word, max_new_tokens = 24 }))
      t.equal(result.error, nil)
      t.ok(not result.text:find(word, 1, true), ("%q in %q"):format(word, result.text))
    end
  end
  local both = m:generate(prompt, { bad_words = "c", regex = " (cat|cow|bird)", do_sample = false })
  t.equal(both.text, " bird")
end)

t.test("words that stand in the answer", function()
  for _, own in ipairs { { do_sample = false }, { seed = 4 }, { do_sample = false, num_beams = 3 } } do
    local result = m:generate(prompt, t.with(own, { force_words = { "violin", "river" }, max_new_tokens = 20 }))
    t.equal(result.error, nil)
    t.ok(result.text:find " violin" and result.text:find " river", result.text)
  end
  local ids = m.tokenizer:ids(" river", { special = false })
  t.ok(m:generate(prompt, t.with(greedy, { force_words_ids = { ids } })).text:find " river")
  t.raises_text(function() m:generate(prompt, { force_words = "an extraordinarily long word", max_new_tokens = 2 }) end, "forced words take")
end)

t.test("a bias for a text is one for its ids", function()
  local word = m.tokenizer:ids(" river", { special = false })
  if #word == 1 then
    t.equal(m:generate(prompt, t.with(greedy, { sequence_bias = { { "river", 1000 } }, max_new_tokens = 1 })).ids, word)
  end
  local never = plain.text:match "%a%a%a%a+"
  local result = m:generate(prompt, t.with(greedy, { sequence_bias = { { never, -1000 } } }))
  t.ok(not result.text:find("^" .. never), result.text)
end)

t.test("echo: the text begins with the prompt's", function()
  local echoed = m:generate(prompt, t.with(greedy, { echo = true }))
  t.equal(echoed.text, prompt .. plain.text)
  t.equal(echoed.ids, plain.ids)
  local pieces = {}
  for piece in m:stream(prompt, t.with(greedy, { echo = true })) do pieces[#pieces + 1] = piece end
  t.equal(table.concat(pieces), echoed.text)
  for _, one in ipairs(m:generate(prompt, { echo = true, n = 2, seed = 1, do_sample = true, max_new_tokens = 4 }).sequences) do
    t.equal(one.text:sub(1, #prompt), prompt)
  end
  t.equal(m:generate(prompt, { echo = true, do_sample = false, num_beams = 2, max_new_tokens = 4 }).text:sub(1, #prompt), prompt)
  t.equal(m:generate(prompt, { echo = true, choices = { " a", " b" } }).choice ~= nil, true)
end)

t.test("what makes no sense is refused", function()
  local function said(options, part) t.raises_text(function() m:generate(prompt, options) end, part) end
  said({ do_sample = false, top_n_sigma = 1 }, "contradict each other")
  said({ mirostat = 2, top_k = 10 }, "mirostat")
  said({ mirostat = 1 }, "mirostat")
  said({ dry_base = 0.5 }, "dry_base: expected 1 or more")
  said({ top_h = 0 }, "top_h: expected a number above 0, at most 1")
  said({ bad_words = { "" } }, "texts that are not empty")
  said({ sequence_bias = { { "", 1 } } }, "sequence_bias")
end)
