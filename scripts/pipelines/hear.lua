-- What is said in a recording: perilune scripts/pipelines/hear.lua FILE [MODEL]
-- Fetch a model first: perilune get whisper-tiny.en. Without a file a second of noise is heard.
local pl = require "perilune"

local path, model = arg[1], arg[2] or "whisper-tiny.en"
local m, err = pl.try(pl.load, model)
if not m then
  print(err)
  return
end
local hear = pl.pipeline("automatic-speech-recognition", m, {
  return_timestamps = "word",
  on_segment = function(s) print(("%6.2f  %s"):format(s.from, s.text)) end,   -- as soon as it is heard
})
local answer = hear(path or pl.random({ 16000 }, { low = -0.1, high = 0.1, axes = { "sample" } }))
print(("%d segments in %.1f s of sound, language %s"):format(#answer.segments, answer.seconds, answer.language or "?"))
for _, word in ipairs(answer.segments[1] and answer.segments[1].words or {}) do
  io.write(("%.2f%s "):format(word.from, word.text))
end
print()
print(answer:format "srt")
