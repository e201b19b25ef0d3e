-- m:score: how likely a model finds texts, continuations of a prompt, answers to a source.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local kind = require "perilune.base.kind"
local progress = require "perilune.base.progress"
local decoder_start = require "perilune.loaded.decoder_start"
local family = require "perilune.loaded.family"
local inputs = require "perilune.run.inputs"
local submit = require "perilune.serve.submit"

local score = {}

local most_scores = 2 ^ 24   -- floats of one pass' logits

-- What a pass is made of. A piece: { ids= (a row), first= (of its ids, the first that is scored), of= (whose scores they
-- are), source= (an encoder-decoder's) }.

-- How many pieces from `first` on make one pass.
local function pieces_of_pass(pieces, first, vocab)
  local count, tokens = 0, 0
  for i = first, #pieces do
    tokens = tokens + #pieces[i].ids
    if count > 0 and tokens * vocab > most_scores then break end
    count = count + 1
  end
  return count
end

local function logits_of(m, pass, adapter)
  local rows, sources = {}, {}
  for i, piece in ipairs(pass) do rows[i], sources[i] = piece.ids, piece.source end
  local o = { rows = "all", outputs = { "logits" }, adapter = adapter }
  if not sources[1] then return m:forward(rows, o).logits end
  o.decoder = rows
  return m:forward(sources, o).logits
end

-- Appends the scores of a pass to those of its texts: tokens, and with `top` the likeliest in their places.
local function score_pass(m, pass, top, adapter)
  local logprobs = logits_of(m, pass, adapter):log_softmax "vocab"
  local vocab, places, at = logprobs:size "vocab", {}, 0
  for _, piece in ipairs(pass) do
    for j = piece.first, #piece.ids do places[#places + 1] = (at + j - 2) * vocab + piece.ids[j] + 1 end
    at = at + #piece.ids
  end
  if not places[1] then return end
  local own = logprobs:merge({ "token", "vocab" }, "place"):gather("place", places):tolist()
  local values, best
  if top then
    local v, b = logprobs:topk(top, "vocab")
    values, best = v:tolist(), b:tolist()
  end
  local next_own = 0
  at = 0
  for _, piece in ipairs(pass) do
    local out = piece.of
    for j = piece.first, #piece.ids do
      next_own = next_own + 1
      local id, logprob = piece.ids[j], own[next_own]
      out.tokens[#out.tokens + 1] = { id = id, piece = m.tokenizer and m.tokenizer:piece(id) or nil, logprob = logprob }
      out.token_logprobs[#out.token_logprobs + 1], out.logprob = logprob, out.logprob + logprob
      if top then
        local list = {}
        for k, other in ipairs(best[at + j - 1]) do list[k] = { id = other, logprob = values[at + j - 1][k] } end
        out.top[#out.top + 1] = list
      end
    end
    at = at + #piece.ids
  end
end

-- The scores of texts, pass by pass; tick is told the pieces done.
local function score_all(m, texts, pieces, o, tick)
  local first = 1
  while first <= #pieces do
    local count = pieces_of_pass(pieces, first, m.vocab_size)
    score_pass(m, { unpack(pieces, first, first + count - 1) }, o.top, o.adapter)
    first = first + count
    tick(first - 1, #pieces)
  end
  for _, text in ipairs(texts) do
    local count = #text.token_logprobs
    text.perplexity = count > 0 and math.exp(-text.logprob / count) or nil
  end
  return texts
end

local function empty_score(ids, top) return { logprob = 0, tokens = {}, token_logprobs = {}, ids = ids, top = top and {} or nil } end

local function slice(ids, first, last)
  local out = {}
  for i = first, last do out[#out + 1] = ids[i] end
  return out
end

-- A row in windows that the model has positions for: each goes on `stride` tokens before the end of the one before,
-- and scores what that did not.
local function windows(m, ids, first, of, stride, place)
  local limit = rawget(m, "state_").c.max_tokens
  if not limit or #ids <= limit then return { { ids = ids, first = first, of = of } } end
  if not stride then
    raise("length", "score", ("%s has %d tokens, the model has %d positions"):format(place, #ids, limit),
      ("stride = n reads it in windows that share n tokens, for instance %d"):format(math.floor(limit / 2)))
  end
  if stride >= limit then
    raise("option", "score", ("option stride: windows of %d tokens cannot share %d"):format(limit, stride), "give a smaller one")
  end
  local list, from, last = {}, 1, first - 1
  while last < #ids do
    local to = math.min(#ids, from + limit - 1)
    if to > last then list[#list + 1] = { ids = slice(ids, from, to), first = math.max(2, last + 2 - from), of = of } end
    if to > last then last = to end
    from = to - stride + 1
  end
  return list
end

-- The ids of a prompt and a choice, and the first of them that is not the prompt's: a text is encoded as a whole, as
-- the model would have read it.
local function continuation(m, prompt, choice)
  local before = submit.prompt_ids(m, prompt, "score")
  if type(prompt) == "string" and type(choice) == "string" then
    local ids, same = submit.prompt_ids(m, prompt .. choice, "score"), 0
    while same < #before and same < #ids - 1 and before[same + 1] == ids[same + 1] do same = same + 1 end
    return ids, same + 1
  end
  local ids = slice(before, 1, #before)
  local own = type(choice) == "string" and inputs.tokenizer(m, "score"):ids(choice, { special = false }) or choice
  for _, id in ipairs(submit.prompt_ids(m, own, "score")) do ids[#ids + 1] = id end
  return ids, #before + 1
end

-- An answer to a source: the decoder reads its start and then the answer, which is scored whole.
local function answer(m, start, choice)
  local ids, own = slice(start, 1, #start), submit.prompt_ids(m, choice, "score")
  for k, id in ipairs(own) do
    if not (k == 1 and #own > 1 and id == start[#start]) then ids[#ids + 1] = id end   -- a tokenizer may write the start itself
  end
  return ids, #start + 1
end

local function texts_of(m, given, o)
  local prompts, single = submit.read(m, given, { allow_foreign = o.allow_foreign }, "score")
  local texts, pieces = {}, {}
  for i, prompt in ipairs(prompts) do
    local text = empty_score(prompt.ids, o.top)
    text.tokens[1] = { id = prompt.ids[1], piece = m.tokenizer and m.tokenizer:piece(prompt.ids[1]) or nil, logprob = false }
    texts[i] = text
    for _, piece in ipairs(windows(m, prompt.ids, 2, text, o.stride, ("text %d"):format(i))) do pieces[#pieces + 1] = piece end
  end
  return texts, pieces, single
end

local function choices_of(m, prompt, choices, o)
  local s, texts, pieces = rawget(m, "state_"), {}, {}
  local two = family.two_part(s.family)
  local start = two and decoder_start.ids(s, {}, "score")
  local source = two and submit.prompt_ids(m, prompt, "score")
  for i, choice in ipairs(choices) do
    local ids, first
    if two then ids, first = answer(m, start, choice) else ids, first = continuation(m, prompt, choice) end
    if first > #ids then raise("argument", "score", ("choice %d has no tokens"):format(i)) end
    if first < 2 then raise("argument", "score", "the prompt has no tokens", "begin it with the model's start token") end
    inputs.check_ids(m, { ids }, "score")
    texts[i] = empty_score(slice(ids, first, #ids), o.top)
    for _, piece in ipairs(windows(m, ids, first, texts[i], o.stride, ("choice %d with its prompt"):format(i))) do
      piece.source = source
      pieces[#pieces + 1] = piece
    end
  end
  return texts, pieces
end

local spec = { top = "count", stride = "positive", on_progress = "function", allow_foreign = "boolean", adapter = "string|boolean" }

--- What a model makes of texts: log-probabilities of every token after the first, which has none (`false`). With a
--- list of choices: of each as the continuation of a prompt, or as an encoder-decoder's answer to a source, all of
--- its tokens. Texts are read together, as many as their logits leave room for.
---@param m Model
---@param texts any a text, a row of ids, or a list of either; before choices one prompt or source
---@param choices any[]|table|nil a list of texts or rows of ids; or opts
---@param opts table|nil { top=n: also the n most likely tokens at every place, stride=n: a text beyond the model's
--- positions is read in windows that share n tokens, each token scored once, on_progress=function(done, total), adapter=, allow_foreign= }
---@return table|table[] { logprob=, perplexity=, tokens={ { id=, piece=, logprob= }, … }, token_logprobs= (from the second token on), ids=, top= }
function score.score(m, texts, choices, opts)
  local s = submit.check_causal(m, "score")
  if not (kind.is_list(choices) and choices[1] ~= nil) then
    if opts ~= nil then raise("argument", "score", "expected a list of choices, got " .. options.show(choices)) end
    choices, opts = nil, choices
  end
  local o = options.check(opts, spec, "score")
  if choices then kind.whole(choices, "score", "choices") end
  if kind.is_list(texts) then kind.whole(texts, "score", "texts") end
  if family.two_part(s.family) and not choices then
    raise("argument", "score", "an encoder-decoder scores answers to a source", "m:score(source, { answer, … })")
  end
  local list, pieces, single
  if choices then list, pieces = choices_of(m, texts, choices, o) else list, pieces, single = texts_of(m, texts, o) end
  progress.during("score", o.on_progress, function(tick) return score_all(m, list, pieces, o, tick) end)
  core.answer(list)
  return single and list[1] or list
end

return score
