-- A whole recording, window by window: another try where an answer looks wrong, silence passed over, each window
-- beginning where the last was heard to (Radford et al. 2022, section 4.5).
local core = require "perilune.core"
local submit = require "perilune.serve.submit"
local special = require "perilune.speech.special"
local window = require "perilune.speech.window"
local segments = require "perilune.speech.segments"
local words = require "perilune.speech.words"
local quiet = require "perilune.speech.quiet"
local source_of = require "perilune.speech.source"

local transcribe = {}

local frame = 160             -- samples
local skipped_from = 16000    -- samples of silence that are worth passing over
local kept_silence = 3200     -- samples of it that stay before speech
local sure_temperature = 0.5  -- above it what was said is no help for what follows

--- What transcribes with a model.
---@param m Model
---@param op string
---@return table transcriber
function transcribe.of(m, op)
  local s = rawget(m, "state_")
  return { model = m, special = special.of(m, op), positions = s.c.max_tokens, frames = s.c.max_source, mels = s.c.axes.mel,
    rules = window.rules(m), op = op }
end

-- Whether an answer looks wrong: it repeats itself, or the model is not sure. Silence is no wrong answer.
local function wrong(r, o)
  if r.compression > o.compression_ratio_threshold then return true end
  return r.logprob < o.logprob_threshold and r.no_speech <= o.no_speech_threshold
end

-- Of answers that all look wrong the surest, first of those that do not repeat themselves: somebody may have
-- repeated himself. What follows does not build on it.
local function best_of(tries, o)
  local best
  for _, r in ipairs(tries) do
    r.plain = r.compression <= o.compression_ratio_threshold
    if not best or r.plain and not best.plain or r.plain == best.plain and r.logprob > best.logprob then best = r end
  end
  best.doubtful = true
  return best
end

-- Answers to several windows, those that look wrong again at the next temperature.
local function decode(t, engine, list, o)
  local waiting = list
  for i, temperature in ipairs(o.temperatures) do
    if #waiting == 0 then break end
    for _, one in ipairs(waiting) do
      one.asked = window.submit(t, engine, one.features, { language = o.language, task = o.task, times = o.times, previous = one.previous,
        temperature = temperature, best_of = o.best_of, seed = (o.seed or 0) + i })
    end
    submit.drain(engine)
    local again = {}
    for _, one in ipairs(waiting) do
      one.result = window.result(t, one.asked)
      if one.result.error then core.error { code = one.result.code or "internal", op = t.op, message = one.result.error } end
      if wrong(one.result, o) then
        again[#again + 1], one.tries = one, one.tries or {}
        one.tries[#one.tries + 1] = one.result
      end
    end
    waiting = again
  end
  for _, one in ipairs(waiting) do one.result = best_of(one.tries, o) end
end

local function append(list, more)
  for i = 1, #more do list[#list + 1] = more[i] end
end

-- Takes what a window says into the recording's answer.
local function take(run, one)
  local t, o, r = run.t, run.o, one.result
  if not o.language then o.language = r.language or (not t.special.multilingual and "en" or nil) end
  local silent = r.no_speech > o.no_speech_threshold and r.logprob < o.logprob_threshold
  if silent then return one.seconds end
  local list, heard = segments.of(t, r.ids, one.at / source_of.rate, one.seconds)
  if o.words and #list > 0 then words.add(t, one, list, o) end
  for _, segment in ipairs(list) do
    segment.text = t.model.tokenizer:decode(segment.ids)
    segment.temperature, segment.logprob, segment.no_speech, segment.compression = r.temperature, r.logprob, r.no_speech, r.compression
    append(run.previous, segment.ids)
    run.segments[#run.segments + 1] = segment
    if o.on_segment then o.on_segment(segment) end
  end
  if r.doubtful or r.temperature > sure_temperature or not o.condition_on_previous_text then run.previous = {} end
  return heard
end

local function prepared(run, samples, at)
  local t = run.t
  return { at = at, samples = samples.shape.sample, seconds = samples.shape.sample / source_of.rate, previous = { unpack(run.previous) },
    features = core.log_mel(samples, t.mels, t.frames) }
end

-- One window after the other.
local function listen_on(run, from)
  local size = run.t.frames * frame
  local at = from
  while true do
    local samples = run.source:take(at, size)
    if not samples then return end
    local silence = run.o.skip_silence and quiet.before(samples) or 0
    if silence == samples.shape.sample then
      at = at + silence
    elseif silence > skipped_from then
      at = at + silence - kept_silence
    else
      local one = prepared(run, samples, at)
      decode(run.t, run.engine, { one }, run.o)
      local heard = take(run, one)
      at = at + math.max(frame, math.floor(heard * source_of.rate + 0.5))
    end
    run.tick(at)
  end
end

-- Several windows in each step, cut where it is quiet; none knows what the others say.
local function listen_beside(run)
  local size, at = run.t.frames * frame, 0
  while true do
    local list = {}
    while #list < run.o.batch_size do
      local samples = run.source:take(at, size)
      if not samples then break end
      local count = samples.shape.sample == size and quiet.cut(samples) or samples.shape.sample
      local part = samples:at { sample = { 1, count } }
      if not (run.o.skip_silence and quiet.before(part) == count) then list[#list + 1] = prepared(run, part, at) end
      at = at + count
      if not run.o.language and run.t.special.multilingual then break end   -- the first one tells
    end
    if #list == 0 and not run.source:take(at, 1) then return end
    decode(run.t, run.engine, list, run.o)
    for _, one in ipairs(list) do
      run.previous = {}
      take(run, one)
    end
    run.tick(at)
  end
end

--- Hears a recording to its end.
---@param t table what transcribe.of gave
---@param input any what source.of takes
---@param o table checked options, complete
---@param tick fun(done: number, total: number|nil)|nil told seconds
---@return table { text=, language=, seconds=, segments={ { from=, to=, text=, ids=, words= }, … } }
function transcribe.run(t, input, o, tick)
  local own = {}
  for key, value in pairs(o) do own[key] = value end
  local run = { t = t, o = own, source = source_of.of(input, own, t.op), engine = submit.engine(), segments = {}, previous = {} }
  if own.initial_prompt then run.previous = t.model.tokenizer:ids(" " .. own.initial_prompt, { special = false }) end
  function run.tick(at)
    local total = run.source:total()
    if tick then tick(total and math.min(at / source_of.rate, total) or at / source_of.rate, total) end
  end
  local fine, err = pcall(own.batch_size > 1 and listen_beside or listen_on, run, 0)
  if not fine then pcall(submit.abandon, run.engine) else run.engine:close() end
  if not fine then error(err, 0) end
  local texts = {}
  for i, segment in ipairs(run.segments) do texts[i] = segment.text end
  return { text = table.concat(texts), language = own.language, seconds = run.source:total(), segments = run.segments }
end

return transcribe
