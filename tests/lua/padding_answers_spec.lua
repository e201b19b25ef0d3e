-- Answers that are written token by token do not depend on padding, and NaNs planted in it never reach one:
-- every family that writes, in every form of a prompt and under every policy (padding_support.lua). So for
-- scores and pipelines.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"
local forms = require "padded_forms"
local planted = require "planted"
local padding = require "padding_support"

-- A prompt in two halves, through keys and values that stay: each half padded in its own way.
local function two_halves(m)
  local counts = { 3, 2, 9, 31, 40, 17 }
  local rows, first, second, whole = padding.random_rows(m, counts), {}, {}, {}
  for i, row in ipairs(rows) do
    local half = math.ceil(#row / 2)
    first[i], second[i] = {}, {}
    for j, id in ipairs(row) do
      local into = j <= half and first or second
      into[i][#into[i] + 1] = id
    end
    whole[i] = m:forward({ row }, { rows = "last" })
  end
  for _, sides in ipairs { { "left", "right" }, { "right", "left" }, { "left", "left" } } do
    padding.poison(m)
    local cache = m:cache { rows = #rows }
    m:forward(pl.batch(first):padded { side = sides[1], pad_id = 0 }, { cache = cache })
    local out = m:forward(pl.batch(second):padded { side = sides[2], pad_id = 0, to = 20 }, { cache = cache, rows = "last" })
    local name, shift = out.logits and "logits" or "last_hidden_state", {}
    for i, row in ipairs(second) do shift[i] = sides[2] == "left" and 20 - #row or 0 end
    for i in ipairs(rows) do
      local mine, alone = forms.row(out[name], i, padding.lengths_of(second), shift), whole[i][name]
      alone = name == "logits" and alone:at { batch = 1 } or alone:at { token = { #first[i] + 1, #rows[i] } }
      t.ok(mine:equal(alone), ("halves, %s then %s: row %d"):format(sides[1], sides[2], i))
    end
  end
end

local function ways_to_write(start)
  local common = { max_new_tokens = 6, eos_token_id = {}, decoder = start, logprobs = 2, suppress_tokens = { 0 } }   -- 0 is NaN
  local ways = {
    greedy = { do_sample = false, num_beams = 1, repetition_penalty = 1.3 },
    sampled = { do_sample = true, temperature = 0.9, top_k = 40, top_p = 0.95, seed = 5, n = 2 },
    beams = { do_sample = false, num_beams = 3, length_penalty = 0.7, early_stopping = true, no_repeat_ngram_size = 2,
      num_return_sequences = 2, eos_token_id = 2, logprobs = false },
  }
  for _, way in pairs(ways) do
    for key, value in pairs(common) do if way[key] == nil then way[key] = value end end
  end
  return ways
end

local function same_answer(a, b)
  local function plain(result)
    local sequences = {}
    for i, s in ipairs(result.sequences or {}) do sequences[i] = { ids = s.ids, score = s.score } end
    return { ids = result.ids, logprobs = result.logprobs, top = result.top_logprobs, sequences = sequences, reason = result.finish_reason }
  end
  local fine = pcall(t.equal, plain(a), plain(b))
  return fine
end

local function answers(m, encoder)
  local rows = padding.random_rows(m, padding.lengths)
  local tied = planted.always_tied[m.family]
  for name, way in pairs(ways_to_write(encoder and { 7, 9 } or nil)) do
    local alone = {}
    for i, row in ipairs(rows) do
      alone[i] = m:generate(row, way)
      t.ok(#alone[i].ids > 0 and alone[i].finish_reason ~= "error", alone[i].error)
    end
    if not tied then padding.poison(m, encoder) end
    local view_left = pl.batch(rows):padded { side = "left", pad_id = 0 }
    local view_right = pl.batch(rows):padded { side = "right", pad_id = 0, multiple_of = 8 }
    local inputs = { list = rows, ragged = pl.batch(rows), left = pl.batch_from_padded(view_left.ids, view_left.mask),
      right = pl.batch_from_padded(view_right.ids, view_right.mask) }
    for form, input in pairs(inputs) do
      for i, result in ipairs(m:generate(input, way)) do
        t.ok(same_answer(alone[i], result), ("%s, %s: row %d"):format(name, form, i))
      end
    end
    for _, policy in ipairs(padding.policies) do
      local e, lines, broken = pl.engine(m, { policy = policy[2], max_tokens = 48 }), {}, {}
      for i, row in ipairs(rows) do
        if not tied then broken[i] = e:submit(padding.nans(#row + 2), way) end
        lines[i] = e:submit(row, way)
      end
      e:drain()
      for i, line in ipairs(lines) do
        t.ok(same_answer(alone[i], line:result()), ("%s, engine %s: row %d"):format(name, policy[1], i))
        if broken[i] then t.ok(tostring(broken[i]:result().error):find "NaN", "the planted NaN is dead") end
      end
      e:close()
    end
  end
end

-- A search whose best beam takes the planted id, so that NaN comes up after it has branched: it fails
-- alone, and the others' answers stay.
local function broken_search(m, encoder)
  local start, row = encoder and { 7, 9 } or nil, padding.random_rows(m, { 9 })[1]
  local way = { max_new_tokens = 5, num_beams = 4, num_return_sequences = 1, do_sample = false, eos_token_id = {}, decoder = start }
  local broken = { sequence_bias = { { { 0 }, 1e4 } } }
  for key, value in pairs(way) do broken[key] = value end
  way.suppress_tokens = { 0 }
  local alone, e = m:generate(row, way), pl.engine(m)
  for _ = 1, 3 do
    local bad, good = e:submit(row, broken), e:submit(row, way)
    e:drain()
    t.ok(bad:result().finish_reason == "error" and tostring(bad:result().error):find "NaN", "the planted NaN is dead")
    t.ok(same_answer(alone, good:result()))
  end
  e:close()
end

local function scores(m)
  local rows, alone = padding.random_rows(m, { 2, 5, 16, 33, 8, 31 }), {}
  for i, row in ipairs(rows) do alone[i] = m:score(row) end
  padding.poison(m)
  for i, score in ipairs(m:score(rows)) do t.equal(score.token_logprobs, alone[i].token_logprobs) end
end

local tasks = { causal = "text-generation", seq2seq = "text2text-generation", sequence = "text-classification",
  token = "token-classification", question = "question-answering", masked = "fill-mask", base = "feature-extraction" }

local function pipelines(m)
  local texts = { "all of a", "school. Besides, if it is said that you resigned", "a", "thus meditating about Kiyo, all of a sudden, he",
    "the carp came to the festival at Kagurazaka, just in time" }
  local options = {}
  if m.head == "causal" or m.head == "seq2seq" then options = { max_new_tokens = 4, do_sample = false, num_beams = 1, eos_token_id = {}, logprobs = 1 } end
  if m.head == "token" then options.aggregation_strategy = "simple" end
  if m.head == "sequence" then options.top_k = "all" end
  if m.head == "question" then options.top_k = 3 end
  local items = {}
  for i, text in ipairs(texts) do
    items[i] = text
    if m.head == "question" then items[i] = { question = "who came?", context = text } end
    if m.head == "masked" then items[i] = text .. " " .. m.tokenizer:piece(m.tokenizer.specials.mask) end
  end
  local p, alone = pl.pipeline(tasks[m.head], m, options), {}
  local function plain(answer)
    if core.type(answer) == "Tensor" then return answer:tolist() end
    if answer.ids then return { answer.ids, answer.text, answer.logprobs } end
    return answer
  end
  for i, item in ipairs(items) do alone[i] = plain(p(item)) end
  for i, answer in ipairs(p(items)) do t.equal(plain(answer), alone[i]) end
  for _, policy in ipairs(padding.policies) do
    local at, seen = 0, 0
    local function source()
      at = at + 1
      return items[at]
    end
    for _, answer, err in p:each(source, { policy = policy[2], window = 3 }) do
      seen = seen + 1
      t.equal(err, nil)
      t.equal(plain(answer), alone[seen], policy[1])
    end
    t.equal(seen, #items)
  end
end

padding.each_model(function(test, model, head)
  local encoder, writes = model.encoder, head == "causal" or head == "seq2seq"
  if model.family.decode and not encoder then test("keys and values that stay", two_halves) end
  if writes then test("answers", function(m) answers(m, encoder) end, model.tied) end
  if writes and not model.tied then test("a search that breaks", function(m) broken_search(m, encoder) end) end
  if head == "causal" then test("scores", scores) end
  if tasks[head] and not (encoder and head == "base") then test("pipelines", pipelines, true) end
end)
