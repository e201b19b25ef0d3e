-- Asking a window again at the next temperature where an answer looks wrong (openai/whisper, transcribe.py).
local core = require "perilune.core"
local window = require "perilune.speech.window"

local attempts = {}

-- Whether an answer looks wrong: it repeats itself, or the model is not sure. Silence is no wrong answer.
local function wrong(r, o)
  if r.no_speech > o.no_speech_threshold and r.logprob < o.logprob_threshold then return false end
  return r.compression > o.compression_ratio_threshold or r.logprob < o.logprob_threshold
end

-- Of answers that all look wrong the surest, first of those that do not repeat themselves: somebody may have
-- repeated himself.
local function best_of(tries, o)
  local best
  for _, r in ipairs(tries) do
    r.plain = r.compression <= o.compression_ratio_threshold
    if not best or r.plain and not best.plain or r.plain == best.plain and r.logprob > best.logprob then best = r end
  end
  return best
end

local function submit(t, engine, one, o)
  local i = #one.tries + 1
  one.asked = window.submit(t, engine, one.features, { language = o.language, task = o.task, times = o.times, previous = one.previous,
    temperature = o.temperatures[i], best_of = o.best_of, num_beams = o.num_beams, seed = (o.seed or 0) + i })
end

--- Hands a window to an engine.
---@param t table the transcriber
---@param engine userdata core's
---@param one table { features=, previous= }; gets asked= and tries=
---@param o table checked options: temperatures, thresholds, what window.submit takes
function attempts.ask(t, engine, one, o)
  one.tries = {}
  submit(t, engine, one, o)
end

--- Whether a window has its answer, one.result; an answer that looks wrong is asked for again.
---@param t table
---@param engine userdata
---@param one table as attempts.ask left it
---@param o table
---@return boolean
function attempts.answered(t, engine, one, o)
  while not one.result and one.asked.line.state == "done" do
    local r = window.result(t, one.asked)
    if r.error then core.error { code = r.code or "internal", op = t.op, message = r.error } end
    one.tries[#one.tries + 1] = r
    if not wrong(r, o) then
      one.result = r
    elseif #one.tries == #o.temperatures then
      one.result = best_of(one.tries, o)
      one.result.tried = o.temperatures[#o.temperatures]   -- as published, that is what the next window goes by
    else
      submit(t, engine, one, o)
    end
  end
  return one.result ~= nil
end

return attempts
