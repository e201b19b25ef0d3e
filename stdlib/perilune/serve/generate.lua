-- m:generate and m:stream: a loop over an engine's steps.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local pass_runner = require "perilune.loaded.pass_runner"
local options = require "perilune.base.options"
local kind = require "perilune.base.kind"
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
  if result and result.missing_sequences and result.finish_reason ~= "cancelled" then
    core.warn(("beams found %d of %d answers: the rules leave no others"):format(#result.sequences, #result.sequences + result.missing_sequences), "generate")
  end
  return result
end

-- The result of a prompt that could not be read or submitted: it fails alone, as it would have while it ran.
local function refused(err)
  return core.answer { finish_reason = "error", error = tostring(err), error_code = err.code, text = "", ids = {} }
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

-- A prompt whose functions (processors, stop_when, on_token) tell `failed` when they raise.
local function watched(prompt, failed)
  local own = {}
  for key, value in pairs(prompt.options) do own[key] = value end
  local function watch(f)
    if type(f) ~= "function" then return f end
    return function(...)
      local function pass(fine, ...)
        if fine then return ... end
        failed.raised = true
        error((...), 0)
      end
      return pass(pcall(f, ...))
    end
  end
  own.stop_when, own.on_token = watch(own.stop_when), watch(own.on_token)
  if kind.is_list(own.processors) then
    local list = {}
    for i, f in ipairs(own.processors) do list[i] = watch(f) end
    own.processors = list
  else
    own.processors = watch(own.processors)
  end
  return { ids = prompt.ids, options = own, whole = prompt.whole }
end

-- Raises what a function of the only prompt raised; in a list it is that prompt's result alone.
local function raise_failed(failed, result)
  if not failed.raised or not result or not result.error then return end
  failed.raised = false
  local op, text = result.error:match "^([%w_]+): (.*)$"
  raise(result.error_code, op or "generate", text or result.error)
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
  if #prompts == 0 then return core.answer {} end
  local failed = {}
  if single then prompts[1] = watched(prompts[1], failed) end
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
  raise_failed(failed, results[1])
  if single then return results[1] end
  return core.answer(results)
end

---@class Stream
local Stream = { __name = "Stream" }
-- Fields that come and go.
local held = { engine_ = true, request_ = true, lost_ = true, events_ = true, model_ = true, guard_ = true, result_ = true, prompt_ = true,
  failed_ = true }

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
---
---     local m = pl.load "scripts/models/tales"
---     local stream = m:stream("Once upon a time", { max_new_tokens = 50, do_sample = false })
---     stream()
---     stream:cancel()
---     print(stream:result().finish_reason)                                  --> cancelled
function Stream:cancel()
  pass_runner.expect(self, "Stream", "cancel")
  if not self.engine_ then return end
  self.request_:cancel()
  if self.engine_:stepping() then return end   -- from one of its callbacks: the loop ends by itself
  self.engine_:drain()
  self:result()
end

--- The result; runs to the end first.
---
---     local m = pl.load "scripts/models/tales"
---     local stream = m:stream("Once upon a time", { max_new_tokens = 3, do_sample = false })
---     for _ in stream do end
---     print(stream:result().finish_reason)                                  --> length
---@return table Result
function Stream:result()
  pass_runner.expect(self, "Stream", "result")
  if self.result_ then return self.result_ end
  self.engine_:drain()
  self.result_ = finish(self.request_, self.lost_)
  self.engine_:close()
  self.engine_, self.guard_, self.events_ = nil, nil, nil
  raise_failed(self.failed_, self.result_)
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
  local engine, failed = submit.engine(policy), {}
  local request, lost = submit.submit(m, engine, watched(prompts[1], failed), "stream")
  return setmetatable({ engine_ = engine, request_ = request, lost_ = lost, events_ = request:events(), model_ = m,
    failed_ = failed, guard_ = submit.guard(engine), prompt_ = progress.counter "prompt" }, Stream)
end

return generate
