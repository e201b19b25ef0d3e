-- question-answering: where a context answers a question, { question=, context= } → { answer, score,
-- first, last } (answer = context:sub(first, last)); with top_k a list. Long contexts are read in windows
-- of max_seq_len tokens that share `stride`. The same words in several places are one answer, whose scores
-- add up. All as the published pipeline has it.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local rows = require "perilune.pipelines.rows"

local task = {
  heads = { "question" }, head = "question",
  spec = rows.with { top_k = "positive", max_answer_len = "positive", max_seq_len = "positive", handle_impossible_answer = "boolean",
    align_to_words = "boolean" },
}

function task.prepare(p) p.width_ = p.options.max_seq_len or 384 end

function task.begin(p, input)
  local good = type(input) == "table" and type(input.question) == "string" and type(input.context) == "string"
  if not good then raise("argument", p.task, "expected { question=, context= }, got " .. options.show(input)) end
  if input.context == "" then raise("argument", p.task, "the context is empty") end
  return rows.windows(rows.encode(p, { text = input.question, pair = input.context }, "only_second"))
end

local function of_context(token) return token.pair and token.first ~= nil end

-- Probabilities over the context's tokens and the class token, which takes its share and answers nothing.
local function probabilities(p, logits, tokens)
  local masked, class = {}, p.tokenizer.specials.cls
  for i, token in ipairs(tokens) do
    masked[i] = (of_context(token) or token.id == class) and logits[i] or -10000
  end
  local shares = rows.softmax(masked)
  local nothing = shares[1]
  shares[1] = 0
  return shares, nothing
end

-- The best spans of one window.
local function spans(starts, ends, tokens, longest, count)
  local list = {}
  for i, token in ipairs(tokens) do
    if of_context(token) then
      for j = i, math.min(#tokens, i + longest - 1) do
        if of_context(tokens[j]) then list[#list + 1] = { from = i, to = j, score = starts[i] * ends[j] } end
      end
    end
  end
  table.sort(list, function(a, b)
    if a.score ~= b.score then return a.score > b.score end
    return a.from < b.from or a.from == b.from and a.to < b.to
  end)
  while #list > count do list[#list] = nil end
  return list
end

-- From the first byte of the first token's word to the last byte of the last token's.
local function bytes(tokens, from, to, whole_words)
  local first, last = tokens[from].first, tokens[to].last
  if not whole_words or not tokens[from].word or not tokens[to].word then return first, last end
  for i = #tokens, 1, -1 do
    if of_context(tokens[i]) and tokens[i].word == tokens[from].word then first = tokens[i].first end
  end
  for _, token in ipairs(tokens) do
    if of_context(token) and token.word == tokens[to].word then last = token.last end
  end
  return first, last
end

-- Adds a span to the answers; one that is there already in whatever case gets its score.
local function add(answers, context, span, first, last)
  local text = context:sub(first, last)
  local known = answers[core.change_case(text, "lower")]
  if known then
    known.score = known.score + span.score
    return
  end
  local answer = { answer = text, score = span.score, first = first, last = last, at = #answers + 1 }
  answers[#answers + 1] = answer
  answers[core.change_case(text, "lower")] = answer
end

function task.finish(p, input, job)
  local o, answers, least = p.options, {}, math.huge
  local wanted, aligned = o.top_k or 1, o.align_to_words ~= false
  for i, result in ipairs(job.results) do
    local tokens = job.tokens[i]
    local starts, no_start = probabilities(p, result.outputs.start_logits:tolist(), tokens)
    local ends, no_end = probabilities(p, result.outputs.end_logits:tolist(), tokens)
    least = math.min(least, no_start * no_end)
    -- More than wanted: several spans may be the same words.
    for _, span in ipairs(spans(starts, ends, tokens, o.max_answer_len or 15, aligned and 2 * wanted + 10 or wanted)) do
      local first, last = bytes(tokens, span.from, span.to, aligned)
      add(answers, input.context, span, first, last)
    end
  end
  if o.handle_impossible_answer then
    answers[#answers + 1] = { answer = "", score = least, first = 1, last = 0, at = #answers + 1 }
  end
  table.sort(answers, function(a, b)
    if a.score ~= b.score then return a.score > b.score end
    return a.at < b.at
  end)
  local out = {}
  for i = 1, math.min(wanted, #answers) do
    local a = answers[i]
    out[i] = { answer = a.answer, score = a.score, first = a.first, last = a.last }
  end
  if o.top_k then return out end
  return out[1]
end

return task
