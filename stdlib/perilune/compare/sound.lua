-- Cases of models that hear: features from a waveform, the encoder, logits of given ids, greedy ids.
local transcribe = require "perilune.speech.transcribe"
local window = require "perilune.speech.window"
local submit = require "perilune.serve.submit"
local core = require "perilune.core"
local pl = require "perilune"
local reference = require "perilune.compare.reference"

local compare_sound = {}

-- From a waveform: the published Fourier transform is another one.
local feature_tolerance = 1e-3

-- Features as the published implementation has them, [mel, frame], as a list.
local function turned(features) return reference.flatten(features:order("mel", "frame")) end

-- The stored tensors that are named log_mel_BANDS…, each made again from the waveform.
local function compare_features(stored, samples, report)
  for _, name in ipairs(stored.names) do
    local mels = tonumber(name:match "^log_mel_(%d+)")
    if mels then
      local theirs = stored.tensor(name)
      local ours = core.log_mel(samples, mels, theirs:size(theirs.shape[2].name))
      local difference = reference.difference(turned(ours), reference.flatten(theirs))
      report.line("features", name, difference <= feature_tolerance and "ok" or "OFF", ("largest difference %.2e"):format(difference))
    end
  end
end

local function batch_of(features) return pl.batch(nil, { inputs = { features = { features } } }) end

-- Our score of an id after some first ids.
local function scorer(m, features)
  return function(prefix, id)
    return m:forward(batch_of(features), { rows = "last", decoder = { prefix } }).logits:at { batch = 1, vocab = id }:item()
  end
end

-- The likeliest ids, one after the other, as many as there are to compare.
local function greedy(m, features, first, count)
  local ids = { first }
  while #ids < count do
    ids[#ids + 1] = m:forward(batch_of(features), { rows = "last", decoder = { ids } }).logits:argmax "vocab":item()
  end
  return ids
end

--- Whether a folder's reference values are those of a model that hears.
---@param expected table expected.json
---@return boolean
function compare_sound.knows(expected) return expected.sample_rate ~= nil and expected.decoder_ids ~= nil end

--- Compares one folder.
---@param m Model
---@param expected table
---@param stored table names and tensors of expected.safetensors
---@param report table
function compare_sound.compare(m, expected, stored, report)
  local wave = stored.tensor "wave"
  local samples = wave:rename { [wave.shape[1].name] = "sample" }
  compare_features(stored, samples, report)
  local s = rawget(m, "state_")
  local features = core.log_mel(samples, s.c.axes.mel, s.c.max_source)
  local out = m:forward(batch_of(features), { rows = "all", decoder = { expected.decoder_ids }, outputs = { "logits", "encoder_last" } })
  for key, ours in pairs { encoder_last = out.encoder_last, logits = out.logits } do
    local theirs = reference.flatten(stored.tensor(expected[key]))
    report.close("forward", key == "logits" and "logits" or "encoder", reference.difference(reference.flatten(ours), theirs), "")
  end
  local ours = greedy(m, features, expected.greedy_ids[1], #expected.greedy_ids)
  local ok, what = reference.compare_greedy(ours, expected.greedy_ids, scorer(m, features))
  report.line("generate", "greedy", ok and "ok" or "OFF", what)
end

-- What is said in 30 seconds whose silence is heard too, as these references have it; a transcription puts zeros after the
-- frames of a recording, as the first program did.
local function said(m, features)
  local t, engine = transcribe.of(m, "compare"), submit.engine()
  local asked = window.submit(t, engine, features, { language = "en", task = "transcribe", times = false, temperature = 0, num_beams = 1 })
  while asked.line.state ~= "done" do engine:advance() end
  engine:close()
  return window.result(t, asked)
end

--- Compares what a real model heard in a recording.
---@param m Model
---@param expected table
---@param stored table
---@param report table
---@param root string the folder that `audio` is below
function compare_sound.real(m, expected, stored, report, root)
  local path = root .. expected.audio
  if not core.file_exists(path) then return report.line("real", "recording", "skip", path .. " is not there") end
  local s = rawget(m, "state_")
  local features = core.log_mel(require("perilune.run.sound").read(path), s.c.axes.mel, s.c.max_source)
  local function close(name, ours, theirs, tolerance)
    local difference = reference.difference(ours, reference.flatten(theirs))
    report.line("real", name, difference <= tolerance and "ok" or "OFF", ("largest difference %.2e"):format(difference))
  end
  close("features", turned(features:at { frame = { 1, 100 } }), stored["log_mel.first_100_frames"], feature_tolerance)
  local out = m:forward(batch_of(features), { rows = "last", decoder = { expected.decoder_prompt }, outputs = { "logits", "encoder_last" } })
  local axis = out.encoder_last.shape[1].name
  close("encoder", reference.flatten(out.encoder_last:at { [axis] = { 1, 4 } }), stored["encoder.first_4_positions"], feature_tolerance)
  close("logits", reference.flatten(out.logits), stored.first_logits, feature_tolerance)
  local heard = said(m, features)
  report.line("real", "transcript", heard.text == expected.text and "ok" or "OFF", ("%q"):format(heard.text))
end

return compare_sound
