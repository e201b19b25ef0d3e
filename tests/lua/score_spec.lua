-- m:score: texts, continuations of a prompt, answers of an encoder-decoder, windows of long texts.
local pl = require "perilune"
local t = require "spec"

local m = pl.load("scripts/models/tales", { compute = "f32" })

-- The log-probability of ids[from..] in one whole pass.
local function by_hand(model, ids, from, source)
  local logits = source and model:forward({ source }, { decoder = { ids }, rows = "all" }).logits or model:forward({ ids }, { rows = "all" }).logits
  local logprobs, sum = logits:log_softmax "vocab", 0
  for j = from, #ids do sum = sum + logprobs:at { token = j - 1, vocab = ids[j] }:item() end
  return sum
end

t.test("choices: each as the continuation of a prompt", function()
  local prompt, choices = "Once upon a", { " time", " noise", " time there was" }
  local list = m:score(prompt, choices)
  t.equal(#list, 3)
  local before = m.tokenizer:ids(prompt)
  for i, choice in ipairs(choices) do
    local whole = m.tokenizer:ids(prompt .. choice)
    t.equal(#list[i].tokens, #whole - #before)
    t.near(list[i].logprob, by_hand(m, whole, #before + 1), 1e-4)
    local sum = 0
    for k, token in ipairs(list[i].tokens) do
      t.equal({ token.id, token.piece }, { whole[#before + k], m.tokenizer:piece(token.id) })
      sum = sum + token.logprob
    end
    t.near(sum, list[i].logprob, 1e-6)
    t.near(list[i].perplexity, math.exp(-list[i].logprob / #list[i].tokens), 1e-6)
  end
  t.ok(list[1].logprob > list[2].logprob)
  t.equal(m:score(before, { m.tokenizer:ids(" time", { special = false }) })[1].logprob ~= nil, true)
  t.equal(m:score({ 1, 722 }, { { 723 }, { 5, 6 } }, { top = 3 })[2].ids, { 5, 6 })
  t.equal(#m:score({ 1, 722 }, { { 723 } }, { top = 3 })[1].top[1], 3)
  t.near(m:score({ 1, 722 }, { { 723, 4 } })[1].logprob, by_hand(m, { 1, 722, 723, 4 }, 3), 1e-4)
end)

t.test("choices are scored with the bits that each has alone", function()
  local many = m:score("The fox", { " ran", " and the owl sat in the old tree", " x" })
  for i, choice in ipairs { " ran", " and the owl sat in the old tree", " x" } do
    t.equal(m:score("The fox", { choice })[1].token_logprobs, many[i].token_logprobs)
  end
end)

t.test("an encoder-decoder scores answers to a source", function()
  local two = pl.load(t.golden "t5-relu-tied", { compute = "f32", tokenizer = false })
  local start = two.config.decoder_start_token_id
  local list = two:score({ 5, 6, 7 }, { { 8, 9 }, { 10 } })
  t.near(list[1].logprob, by_hand(two, { start, 8, 9 }, 2, { 5, 6, 7 }), 1e-4)
  t.near(list[2].logprob, by_hand(two, { start, 10 }, 2, { 5, 6, 7 }), 1e-4)
  t.equal({ #list[1].tokens, list[1].tokens[1].id, #list[2].tokens }, { 2, 8, 1 })
  t.raises_table(function() two:score { 5, 6, 7 } end, "answers to a source")
end)

t.test("stride: a text beyond the positions in windows, each token once", function()
  local ids = {}
  for i = 1, m.max_tokens * 2 + 37 do ids[i] = 3 + i * 31 % (m.vocab_size - 3) end
  local err = t.raises_table(function() m:score(ids) end, #ids .. " tokens", m.max_tokens .. " positions")
  t.ok(err.hint:find("stride", 1, true))
  local r = m:score(ids, { stride = 64 })
  t.equal({ #r.tokens, #r.token_logprobs, r.tokens[1].logprob, r.tokens[#ids].id }, { #ids, #ids - 1, false, ids[#ids] })
  for k, token in ipairs(r.tokens) do t.equal(token.id, ids[k]) end
  -- A window by itself: the second begins 64 tokens before the end of the first.
  local from, window = m.max_tokens - 63, {}
  for k = from, from + m.max_tokens - 1 do window[#window + 1] = ids[k] end
  local own = m:score(window)
  for k = 66, #window do t.equal(own.token_logprobs[k - 1], r.token_logprobs[from + k - 2], "token " .. k) end
  local short = m:score({ 1, 722, 723 }, { stride = 64 })
  t.equal(short.token_logprobs, m:score({ 1, 722, 723 }).token_logprobs)
  t.raises_table(function() m:score(ids, { stride = m.max_tokens }) end, "stride")
  local long = m:score(ids, { { 5, 6 } }, { stride = 32 })
  t.equal(#long[1].tokens, 2)
end)

t.test("progress, and what is refused", function()
  local told = {}
  local texts = {}
  for i = 1, 120 do texts[i] = ("The fox ran and ran. "):rep(12) end
  local list = m:score(texts, { on_progress = function(done, total) told[#told + 1] = { done, total } end })
  t.equal({ #list, told[#told] }, { 120, { 120, 120 } })
  t.ok(#told > 1, "long lists are read in several passes")
  t.raises_table(function() m:score("x", { "a", "b" }, { tpo = 1 }) end, "top")
  t.raises_table(function() m:score("x", "a", { top = 1 }) end, "list of choices")
  t.raises_table(function() m:score("x", { {} }) end, "without tokens")
  t.raises_table(function() m:score("x", { { 99999 } }) end, "99999")
end)

t.test("a padded pair is taken wherever forward takes one", function()
  local rows = { { 1, 722, 723 }, { 1, 9 } }
  for _, pair in ipairs { { ids = { { 1, 722, 723 }, { 1, 9, 0 } }, mask = { { 1, 1, 1 }, { 1, 1, 0 } } },
    { ids = { { 1, 722, 723 }, { 0, 1, 9 } }, mask = { { 1, 1, 1 }, { 0, 1, 1 } } } } do
    local scores, plain = m:score(pair), m:score(rows)
    for i = 1, 2 do t.equal(scores[i].token_logprobs, plain[i].token_logprobs) end
    local greedy = { max_new_tokens = 3, do_sample = false, eos_token_id = {} }
    local answers, own = m:generate(pair, greedy), m:generate(rows, greedy)
    for i = 1, 2 do t.equal(answers[i].ids, own[i].ids) end
    t.equal(m:embed(pair, { pooling = "mean" }):equal(m:embed(rows, { pooling = "mean" })), true)
    t.ok(m:trace(pair, { "layers.0" })["layers.0"])
    local e = pl.engine(m)
    local line = e:submit({ ids = { { 0, 1, 9 } }, mask = { { 0, 1, 1 } } }, greedy)
    e:drain()
    t.equal(line:result().ids, own[2].ids)
  end
  t.raises_table(function() m:generate { ids = { { 1, 2, 3 } }, mask = { { 1, 0, 1 } } } end, "mask")
  t.raises_table(function() m:generate("x", { attention_mask = { 1 } }) end, "attention_mask")
end)
