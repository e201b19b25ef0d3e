-- A whole recording, window by window: silence passed over, each window beginning where the last was heard to
-- (Radford et al. 2022, section 4.5; openai/whisper, transcribe.py). It waits for an engine that others share.
local special = require "perilune.speech.special"
local window = require "perilune.speech.window"
local features = require "perilune.speech.features"
local attempts = require "perilune.speech.attempts"
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

local Recording = {}
Recording.__index = Recording

-- The last `most` of two lists as one.
local function last_of(most, a, b)
  local out, count = {}, #a + #b
  for i = math.max(1, count - most + 1), count do out[#out + 1] = i <= #a and a[i] or b[i - #a] end
  return out
end

-- How far words say that a window was heard: to the end of the last one.
local function last_word_end(list)
  for i = #list, 1, -1 do
    local own = list[i].words or {}
    if #own > 0 then return own[#own].to end
  end
  return #list > 0 and list[#list].to or nil
end

-- Takes what a window says into the recording's answer; gives how many seconds of it were heard.
function Recording:take_in(one)
  local t, o, r = self.t, self.o, one.result
  if not o.language then o.language = r.language or (not t.special.multilingual and "en" or nil) end
  local silent = r.no_speech > o.no_speech_threshold and r.logprob < o.logprob_threshold
  if silent then return one.seconds end
  local begin = one.at / source_of.rate
  local list, heard, ended = segments.of(t, r.ids, begin, one.seconds)
  if o.words and #list > 0 then
    self.spoken = words.add(t, one, list, o, self.spoken)
    local last = last_word_end(list)
    if not ended and last > begin then heard = last - begin end
  end
  for _, segment in ipairs(list) do
    segment.text = t.model.tokenizer:decode(segment.ids)
    if segment.text:find "%S" and segment.to > segment.from then   -- its words may have left it no time
      segment.temperature, segment.logprob, segment.no_speech, segment.compression = r.temperature, r.logprob, r.no_speech, r.compression
      self.previous = last_of(t.positions, self.previous, segment.timed_ids)
      segment.timed_ids = nil
      self.segments[#self.segments + 1] = segment
    end
  end
  if (r.tried or r.temperature) > sure_temperature or not o.condition_on_previous_text then self.previous = {} end
  return heard
end

-- Asks what a part of the recording says, on this recording's account.
function Recording:ask(samples, at, previous)
  local t = self.t
  local one = { at = at, samples = samples.shape.sample, seconds = samples.shape.sample / source_of.rate, previous = previous,
    features = features.of(t, self.source, at, samples.shape.sample) }
  self.waiting[#self.waiting + 1] = one
  attempts.ask(t, self.engine, one, self.o)
  return one
end

-- The oldest part that was asked for, with its answer. The others are asked again meanwhile, where they must be.
function Recording:next_answer()
  while true do
    for _, one in ipairs(self.waiting) do attempts.answered(self.t, self.engine, one, self.o) end
    if self.waiting[1].result then return table.remove(self.waiting, 1) end
    coroutine.yield()
  end
end

-- One window after the other.
function Recording:listen_on()
  local size, at = self.t.frames * frame, 0
  while true do
    local samples = self.source:take(at, size)
    if not samples or samples.shape.sample < frame then return end
    local silence = self.o.skip_silence and quiet.before(samples) or 0
    if silence == samples.shape.sample then
      at = at + silence
    elseif silence > skipped_from then
      at = at + silence - kept_silence
    else
      self:ask(samples, at, self.previous)
      local heard = self:take_in(self:next_answer())
      at = at + math.max(frame, math.floor(heard * source_of.rate / frame + 0.5) * frame)
    end
    self.heard = at
    coroutine.yield(true)   -- told before more sound is waited for
  end
end

-- Several windows at a time, cut where it is quiet; none knows what the others say.
function Recording:listen_beside()
  local size, at, over = self.t.frames * frame, 0, false
  while true do
    local known = self.o.language or not self.t.special.multilingual   -- the first one tells
    while not over and #self.waiting < (known and self.o.batch_size or 1) do
      local samples = self.source:take(at, size)
      over = samples == nil or samples.shape.sample < frame
      if over then break end
      local count = samples.shape.sample == size and quiet.cut(samples) or samples.shape.sample
      local part = samples:at { sample = { 1, count } }
      if not (self.o.skip_silence and quiet.before(part) == count) then self:ask(part, at, at == 0 and self.previous or {}) end
      at = at + count
    end
    if #self.waiting == 0 then return end
    local one = self:next_answer()
    self:take_in(one)
    self.heard = one.at + one.samples
    coroutine.yield(true)
  end
end

--- A recording that an engine will hear; nothing is opened yet.
---@param t table what transcribe.of gave
---@param input any what source.of takes
---@param o table checked options, complete
---@return table recording { ended=, error= }
function transcribe.recording(t, input, o)
  local own = {}
  for key, value in pairs(o) do own[key] = value end
  return setmetatable({ t = t, o = own, input = input, segments = {}, previous = {}, waiting = {}, heard = 0, told = 0, spoken = 0, ended = false }, Recording)
end

-- From its beginning to its end.
function Recording:listen()
  local o = self.o
  self.source = source_of.of(self.input, o, self.t.op)
  self.source.loudest = features.loudest(self.source, self.t.mels)
  if o.initial_prompt then
    self.previous = self.t.model.tokenizer:ids(" " .. o.initial_prompt:match "^%s*(.-)%s*$", { special = false })
  end
  if o.batch_size > 1 then self:listen_beside() else self:listen_on() end
end

--- Begins, or goes on as far as it can before the engine's next step, or until there is something to tell.
---@param engine userdata core's
---@return boolean again whether it can go on before the engine's next step
function Recording:go_on(engine)
  if not self.work then self.engine, self.work = engine, coroutine.create(self.listen) end
  local fine, again = coroutine.resume(self.work, self)
  if not fine then self:fail(again) end
  self.ended = self.ended or coroutine.status(self.work) == "dead"
  return not self.ended and again == true
end

--- Ends it with an error.
---@param err any
function Recording:fail(err)
  self.error, self.ended = err, true
  for _, one in ipairs(self.waiting) do
    if one.asked then one.asked.line:cancel() end   -- none where asking is what failed
  end
end

--- The next segment that nobody was told of yet; nil where there is none.
---@return table|nil segment
function Recording:news()
  if self.told == #self.segments then return nil end
  self.told = self.told + 1
  return self.segments[self.told]
end

--- How far it is.
---@return number seconds heard
---@return number|nil seconds in all, where that is known
function Recording:progress()
  local heard, total = self.heard / source_of.rate, self.source and self.source:total()
  return total and math.min(heard, total) or heard, total
end

--- What was said; raises what it failed with.
---@return table { text=, language=, seconds=, segments={ { from=, to=, text=, ids=, words= }, … } }
function Recording:transcript()
  if self.error then error(self.error, 0) end
  local texts = {}
  for i, segment in ipairs(self.segments) do texts[i] = segment.text end
  return { text = table.concat(texts), language = self.o.language, seconds = self.source:total(), segments = self.segments }
end

return transcribe
