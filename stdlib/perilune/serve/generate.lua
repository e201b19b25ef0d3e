-- m:generate and m:stream: a loop over an engine's steps.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local pass_runner = require "perilune.loaded.pass_runner"
local options = require "perilune.base.options"
local submit = require "perilune.serve.submit"
local generation = require "perilune.serve.generation"
local progress = require "perilune.base.progress"

local generate = {}

local spec = { policy = "table|function", truncate = "any", on_progress = "function" }
for key, wanted in pairs(generation.spec) do spec[key] = wanted end

-- Takes out what belongs to the call and not to a request.
local function split_options(opts, op)
  local o = options.check(opts, spec, op)
  if o.truncate ~= nil then
    raise("option", op, "option truncate: prompts are shortened by context", 'use context="truncate_left"')
  end
  local common = {}
  for key, value in pairs(o) do common[key] = value end
  common.policy, common.on_progress = nil, nil
  return common, o.policy, o.on_progress
end

-- What an engine's counts say of prompts: how many are done, or of a single one its tokens.
local function ticker(prompts, tick, on_progress)
  if not progress.wanted(on_progress) then return nil end
  if #prompts > 1 or prompts[1].error then return function(stats) tick(stats.finished, #prompts) end end
  local own = prompts[1].options
  local total = #prompts[1].ids + (own.max_new_tokens or generation.default_new_tokens)
  return function(stats) tick(math.min(stats.tokens, total), total) end
end

local function finish(request, lost)
  local result = request:result()
  if result and lost > 0 then result.lost = lost end
  return result
end

-- The result of a prompt that could not be read or submitted: it fails alone, as it would have while it ran.
local function refused(err)
  return { finish_reason = "error", error = tostring(err), error_code = err.code, text = "", ids = {} }
end

-- Submits the prompts of a list.
local function submit_all(m, engine, prompts, common)
  local lines, lost, results = {}, {}, {}
  for i, prompt in ipairs(prompts) do
    local line, dropped = prompt, nil
    if not prompt.error then line, dropped = submit.attempt(prompt, common, submit.submit, m, engine, prompt, "generate") end
    if type(line) == "table" then results[i] = refused(line.error) else lines[i], lost[i] = line, dropped end
  end
  return lines, lost, results
end

--- Continues prompts. One in, one Result out; a list in, a list out in the same order, in which a prompt
--- that cannot be read or run is a Result with `error`. Options come
--- from generation_config.json (config.json where that file is absent) unless given; the reference
--- lists them. Without a limit anywhere, 128 new tokens. Giving temperature, top_k, top_p or min_p
--- without do_sample samples.
---@param m Model
---@param input any text | ids | Batch | { prompt=|ids=, any option } | list of these
---@param opts table|nil
---@return table|table[] Result { text=, ids=, finish_reason=, seed=, … }
function generate.generate(m, input, opts)
  submit.check_causal(m, "generate")
  local common, policy, on_progress = split_options(opts, "generate")
  local prompts, single = submit.read(m, input, common, "generate", true)
  if #prompts == 0 then return {} end
  local engine, lines, lost, results = submit.engine(policy), {}, {}, {}
  local fine, err = pcall(function()
    if single then
      lines[1], lost[1] = submit.submit(m, engine, prompts[1], "generate")
    else
      lines, lost, results = submit_all(m, engine, prompts, common)
    end
    progress.during("generate", on_progress, function(tick) submit.drain(engine, ticker(prompts, tick, on_progress)) end)
  end)
  if not fine then pcall(submit.abandon, engine) end
  for i = 1, #prompts do
    if lines[i] then results[i] = finish(lines[i], lost[i]) end
  end
  if not fine then   -- a policy's mistake: what was answered before it is not lost
    if type(err) == "table" then rawset(err, "results", results) end
    error(err, 0)
  end
  engine:close()
  if single then return results[1] end
  return results
end

---@class Stream
local Stream = { __name = "Stream" }
-- Fields that come and go.
local held = { engine_ = true, request_ = true, lost_ = true, events_ = true, model_ = true, guard_ = true, result_ = true, prompt_ = true }

function Stream.__index(_, key)
  if Stream[key] or held[key] then return Stream[key] end
  local near = type(key) == "string" and core.did_you_mean(key, { "cancel", "result" })
  return raise("argument", "stream", "a Stream has no method " .. options.show(key),
    near or "its methods are cancel and result; it is made for `for`")
end

-- Takes the next event that carries a token, stepping as needed; nil at the end.
local function next_event(stream)
  while true do
    local event = stream.events_()
    while event do
      if event.kind == "token" then return event.text, event end
      event = stream.events_()
    end
    if stream.engine_:idle() then return nil end
    stream.engine_:advance()
    if stream.prompt_ then stream.prompt_(math.min(stream.engine_:stats().tokens, stream.request_.prompt_tokens), stream.request_.prompt_tokens) end
    stream.events_ = stream.request_:events()
  end
end

-- The next piece; a long prompt before the first one is told of.
local function next_piece(stream)
  local piece, event = next_event(stream)
  if stream.prompt_ then
    stream.prompt_(nil)
    stream.prompt_ = nil
  end
  return piece, event
end

function Stream.__call(stream)
  if not stream.engine_ then return nil end
  local piece, event = next_piece(stream)
  if piece == nil then stream:result() end
  return piece, event
end

--- Ends the generation where it is.
function Stream:cancel()
  pass_runner.expect(self, "Stream", "cancel")
  if not self.engine_ then return end
  self.request_:cancel()
  if self.engine_:stepping() then return end   -- from one of its callbacks: the loop ends by itself
  self.engine_:drain()
  self:result()
end

--- The result; runs to the end first.
---@return table Result
function Stream:result()
  pass_runner.expect(self, "Stream", "result")
  if self.result_ then return self.result_ end
  self.engine_:drain()
  self.result_ = finish(self.request_, self.lost_)
  self.engine_:close()
  self.engine_, self.guard_, self.events_ = nil, nil, nil
  return self.result_
end

function Stream.__tostring(stream)
  local result = stream.result_
  return result and ("Stream (%s)"):format(result.finish_reason) or "Stream (running)"
end

--- Continues one prompt piece by piece: `for piece, event in m:stream(prompt) do io.write(piece) end`.
--- Pieces are whole characters; joined, they are the result's text. A stream that is dropped costs
--- nothing more. s:cancel() ends it, s:result() runs to the end.
---@param m Model
---@param input any one prompt, as generate takes it
---@param opts table|nil
---@return Stream
function generate.stream(m, input, opts)
  submit.check_causal(m, "stream")
  local common, policy = split_options(opts, "stream")
  local prompts, single = submit.read(m, input, common, "stream")
  if not single and #prompts ~= 1 then
    raise("argument", "stream", ("a stream continues one prompt, got %d"):format(#prompts), "use m:generate or pl.engine for many")
  end
  local engine = submit.engine(policy)
  local request, lost = submit.submit(m, engine, prompts[1], "stream")
  return setmetatable({ engine_ = engine, request_ = request, lost_ = lost, events_ = request:events(), model_ = m,
    guard_ = submit.guard(engine), prompt_ = progress.counter "prompt" }, Stream)
end

local most_scores = 2 ^ 24   -- floats of one pass' logits

-- How many of `rows` from `first` on make one pass.
local function rows_of_pass(rows, first, vocab)
  local count, tokens = 0, 0
  for i = first, #rows do
    tokens = tokens + #rows[i]
    if count > 0 and tokens * vocab > most_scores then break end
    count = count + 1
  end
  return count
end

-- The log-probability of every token after the first of each row, row after row, and the n best ids at each place.
local function score_rows(m, rows, top)
  local logprobs = m:forward(rows, { rows = "all", outputs = { "logits" } }).logits:log_softmax "vocab"
  local vocab, flat, at = logprobs:size "vocab", {}, 0
  for _, ids in ipairs(rows) do
    for j = 2, #ids do flat[#flat + 1] = (at + j - 2) * vocab + ids[j] + 1 end
    at = at + #ids
  end
  if not flat[1] then return {}, nil, nil end
  local own = logprobs:merge({ "token", "vocab" }, "place"):gather("place", flat):tolist()
  if not top then return own, nil, nil end
  local values, best = logprobs:topk(top, "vocab")
  return own, values:tolist(), best:tolist()
end

-- One text's scores, out of those of its pass: its own begin after `own_at`, its tokens' best after `token_at`.
local function scored(m, ids, own, own_at, values, best, token_at)
  local row = { logprob = 0, token_logprobs = {}, ids = ids, tokens = {}, top = values and {} or nil }
  for j, id in ipairs(ids) do
    local logprob = j > 1 and own[own_at + j - 1]
    row.tokens[j] = { id = id, piece = m.tokenizer and m.tokenizer:piece(id) or nil, logprob = logprob }
    if logprob then
      row.token_logprobs[j - 1], row.logprob = logprob, row.logprob + logprob
      if values then
        local list = {}
        for k, other in ipairs(best[token_at + j - 1]) do list[k] = { id = other, logprob = values[token_at + j - 1][k] } end
        row.top[j - 1] = list
      end
    end
  end
  row.perplexity = #ids > 1 and math.exp(-row.logprob / (#ids - 1)) or nil
  return row
end

-- The scores of rows, pass by pass; tick is told the rows done.
local function score_all(m, rows, top, tick)
  local list, first = {}, 1
  while first <= #rows do
    local count = rows_of_pass(rows, first, m.vocab_size)
    local pass = { unpack(rows, first, first + count - 1) }
    local own, values, best = score_rows(m, pass, top)
    local own_at, token_at = 0, 0
    for _, ids in ipairs(pass) do
      list[#list + 1] = scored(m, ids, own, own_at, values, best, token_at)
      own_at, token_at = own_at + #ids - 1, token_at + #ids
    end
    first = first + count
    tick(#list, #rows)
  end
  return list
end

--- What a model makes of texts: log-probabilities of every token after the first, which has none (`false`).
--- Texts are read together, as many as their logits leave room for.
---@param m Model
---@param texts any a text, a row of ids, or a list of either
---@param opts table|nil { top=n: also the n most likely tokens at every place, on_progress=function(done, total), allow_foreign= }
---@return table|table[] { logprob=, perplexity=, tokens={ { id=, piece=, logprob= }, … }, token_logprobs= (from the second token on), ids=, top= }
function generate.score(m, texts, opts)
  submit.check_causal(m, "score")
  local o = options.check(opts, { top = "count", on_progress = "function", allow_foreign = "boolean" }, "score")
  local prompts, single = submit.read(m, texts, { allow_foreign = o.allow_foreign }, "score")
  local rows = {}
  for i, prompt in ipairs(prompts) do rows[i] = prompt.ids end
  local list = progress.during("score", o.on_progress, function(tick) return score_all(m, rows, o.top, tick) end)
  if single then return list[1] end
  return list
end

return generate
