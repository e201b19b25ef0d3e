-- question-answering: where a context answers a question, { question=, context= } → { answer, score,
-- first, last } (answer = context:sub(first, last)); with top_k a list. Long contexts are read in windows
-- that share `stride` tokens.
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local rows = require "perilune.pipelines.rows"

local task = {
  heads = { "question" }, head = "question",
  spec = rows.with { top_k = "positive", max_answer_len = "positive", handle_impossible_answer = "boolean", align_to_words = "boolean" },
}

function task.begin(p, input)
  local good = type(input) == "table" and type(input.question) == "string" and type(input.context) == "string"
  if not good then raise("argument", p.task, "expected { question=, context= }, got " .. options.show(input)) end
  if input.context == "" then raise("argument", p.task, "the context is empty") end
  return rows.windows(rows.encode(p, { text = input.question, pair = input.context }, "only_second"))
end

-- Probabilities over the context's tokens (and the first token, for "no answer").
local function probabilities(logits, tokens, impossible)
  local masked = {}
  for i, token in ipairs(tokens) do
    local inside = token.first ~= nil and token.pair
    masked[i] = (inside or (impossible and i == 1)) and logits[i] or -10000
  end
  return rows.softmax(masked)
end

-- The best spans of one window.
local function spans(starts, ends, tokens, longest, count)
  local list = {}
  for i, token in ipairs(tokens) do
    if token.pair and token.first then
      for j = i, math.min(#tokens, i + longest - 1) do
        if tokens[j].pair and tokens[j].first then list[#list + 1] = { from = i, to = j, score = starts[i] * ends[j] } end
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
  if whole_words then
    for _, token in ipairs(tokens) do
      if token.pair and token.first and token.word then
        if token.word == tokens[from].word then first = math.min(first, token.first) end
        if token.word == tokens[to].word then last = math.max(last, token.last) end
      end
    end
  end
  return first, last
end

function task.finish(p, input, job)
  local o, answers, nothing = p.options, {}, math.huge
  local wanted = o.top_k or 1
  for i, result in ipairs(job.results) do
    local tokens = job.tokens[i]
    local starts = probabilities(result.outputs.start_logits:tolist(), tokens, o.handle_impossible_answer)
    local ends = probabilities(result.outputs.end_logits:tolist(), tokens, o.handle_impossible_answer)
    if o.handle_impossible_answer then nothing = math.min(nothing, starts[1] * ends[1]) end
    -- More than wanted: several spans may be the same words.
    for _, span in ipairs(spans(starts, ends, tokens, o.max_answer_len or 15, 16 * wanted)) do
      local first, last = bytes(tokens, span.from, span.to, o.align_to_words ~= false)
      answers[#answers + 1] = { answer = input.context:sub(first, last), score = span.score, first = first, last = last }
    end
  end
  if o.handle_impossible_answer then answers[#answers + 1] = { answer = "", score = nothing, first = 1, last = 0 } end
  table.sort(answers, function(a, b)
    if a.score ~= b.score then return a.score > b.score end
    return a.first < b.first
  end)
  local out, seen = {}, {}
  for _, answer in ipairs(answers) do   -- windows share tokens: the same answer counts once
    local key = answer.first .. " " .. answer.last
    if not seen[key] and #out < wanted then
      seen[key] = true
      out[#out + 1] = answer
    end
  end
  if o.top_k then return out end
  return out[1]
end

return task
