-- automatic-speech-recognition: what is said in a recording of any length, with times.
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local transcribe = require "perilune.speech.transcribe"
local special = require "perilune.speech.special"
local progress = require "perilune.base.progress"
local formats = require "perilune.speech.formats"

-- Recordings of a list that are heard at once.
local task = { heads = { "seq2seq" }, head = "seq2seq", at_once = 8, unit = "seconds" }

task.spec = {
  language = "string", task = { "transcribe", "translate" }, return_timestamps = "boolean|string", temperature = "number|table", best_of = "positive",
  compression_ratio_threshold = "number", logprob_threshold = "number", no_speech_threshold = "number",
  condition_on_previous_text = "boolean", initial_prompt = "string", batch_size = "positive", skip_silence = "boolean", follow = "boolean",
  patience = "number", seed = "count", num_beams = "positive", on_segment = "function",
}
task.own_spec = task.spec

local usual = { compression_ratio_threshold = 2.4, logprob_threshold = -1, no_speech_threshold = 0.6, condition_on_previous_text = true,
  batch_size = 1, best_of = 5, num_beams = 1, skip_silence = true, task = "transcribe" }

local function temperatures(given, op)
  if given == nil then return { 0, 0.2, 0.4, 0.6, 0.8, 1 } end
  local list = type(given) == "table" and given or { given }
  for _, value in ipairs(list) do
    if type(value) ~= "number" or not (value >= 0 and value <= 10) then
      raise("option", op, "option temperature: expected a number from 0 to 10, or several to try in turn, got " .. options.show(value))
    end
  end
  if #list == 0 then raise("option", op, "option temperature: an empty list") end
  return list
end

--- Prepares what transcribes; options are checked before a sound is opened.
---@param p Pipeline
function task.prepare(p)
  local op = p.task
  local t, o = transcribe.of(p.model, op), {}
  for key, value in pairs(usual) do o[key] = value end
  for key in pairs(task.spec) do if p.options[key] ~= nil then o[key] = p.options[key] end end
  o.temperatures = temperatures(o.temperature, op)
  local how = o.return_timestamps
  if type(how) == "string" and how ~= "word" then raise("option", op, 'option return_timestamps: expected true or "word", got ' .. options.show(how)) end
  o.words, o.times = how == "word", how ~= false
  if o.language then
    o.language = special.language(t.special, o.language, op)
    if not t.special.multilingual and o.language ~= "en" then
      raise("option", op, ("option language: this model knows English alone, not %q"):format(o.language), "take a model without .en in its name")
    end
  end
  if not t.special.multilingual and o.task == "translate" then raise("option", op, "option task: this model knows English alone: it does not translate") end
  p.transcriber_, p.chosen_ = t, o
end

function task.begin(p, input) return { rows = {}, work = transcribe.recording(p.transcriber_, input, p.chosen_) } end

--- Tells of what was heard since; a function that fails ends that recording alone.
---@param p Pipeline
---@param job table
---@param input any
function task.news(p, job, input)
  local on_segment = p.chosen_.on_segment
  if not on_segment then return end
  for segment in function() return job.work:news() end do
    progress.clear()
    local fine, err = pcall(on_segment, segment, input)
    if not fine then return job.work:fail(err) end
  end
end

--- The transcript; tostring(it) is its text, it:format("srt") subtitles.
function task.finish(_, _, job)
  return setmetatable(job.work:transcript(), { __index = { format = formats.whole }, __tostring = function(t) return t.text end })
end

return task
