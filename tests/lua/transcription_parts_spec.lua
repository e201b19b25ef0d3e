-- The parts that a transcription is made with, each by itself: times, features, words, attention, formats.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"

local function sound(seconds, seed) return pl.random({ seconds * 16000 }, { seed = seed, low = -0.5, high = 0.5, axes = { "sample" } }) end

t.test("times cut ids into segments, and say how far a window was heard", function()
  local segments = require "perilune.speech.segments"
  local own = { special = { first_time = 250, stop = 240 } }
  local function cut(ids, length)
    local list, heard = segments.of(own, ids, 10, length or 30)
    local out = {}
    for i, s in ipairs(list) do out[i] = { s.from, s.to, #s.ids } end
    return out, heard
  end
  local cases = {
    { { 250, 1, 2, 300, 300, 3, 350 }, { { 10, 11, 2 }, { 11, 12, 1 } }, 30 },   -- it ends with what is said
    { { 250, 1, 2, 300, 300, 3, 4 }, { { 10, 11, 2 } }, 1 },                     -- the rest is heard again
    { { 250, 1, 2 }, { { 10, 40, 2 } }, 30 }, { { 260, 1, 2, 300 }, { { 10.2, 11, 2 } }, 30 }, { {}, {}, 30 },
    { { 250, 300, 300, 5, 320, 320 }, { { 11, 11.4, 1 } }, 1.4 },
  }
  for i, case in ipairs(cases) do
    local list, heard = cut(case[1])
    t.equal(#list, #case[2], "case " .. i)
    for j, s in ipairs(list) do t.near(s, case[2][j], 1e-9, "case " .. i) end
    t.near(heard, case[3], 1e-9, "case " .. i)
  end
end)

t.test("a window's features are those of the whole recording, with zeros after its end", function()
  local heard, source_of = require "perilune.speech.features", require "perilune.speech.source"
  local loud = sound(1, 5) * pl.tensor(10)
  local samples = pl.cat({ loud, sound(1, 6) * pl.tensor(1e-4) }, "sample")   -- the second part is far quieter
  local path = os.tmpname() .. ".wav"
  pl.sound.write(path, samples, { store = "f32" })
  local whole, model = core.log_mel(samples, 80, 202), { mels = 80, frames = 130 }
  for _, input in ipairs { samples, path } do
    local source = source_of.of(input, {}, "test")
    source.loudest = heard.loudest(source, 80)
    t.near(source.loudest, whole:max(), 1e-6)
    local made = heard.of(model, source, 16000, 16000)
    t.equal({ made.shape.frame, made.shape.mel }, { 130, 80 })
    t.ok(made:at { frame = { 1, 100 } }:close(whole:at { frame = { 101, 200 } }, 1e-5))
    t.equal(made:at { frame = { 101, 130 } }:abs():max(), 0)
  end
  os.remove(path)
end)

t.test("words find their places in segments as published", function()
  local words = require "perilune.speech.words"
  for i, case in ipairs(core.read_json "tests/lua/word_places_expected.json") do
    local all, list = {}, {}
    for k, w in ipairs(case.words) do all[k] = { text = w[1], from = w[2], to = w[3], count = w[4] } end
    for k, s in ipairs(case.segments) do
      list[k] = { from = s[1], to = s[2], ids = {} }
      for id = 1, s[3] do list[k].ids[id] = id end
    end
    t.near(words.place(all, list, 0), case.spoken, 1e-6, "case " .. i)
    for k, wanted in ipairs(case.placed) do
      t.equal(#list[k].words, #wanted[3], "case " .. i)
      t.near(list[k].from, wanted[1], 1e-6, "case " .. i)
      t.near(list[k].to, wanted[2], 1e-6, "case " .. i)
      for j, word in ipairs(wanted[3]) do
        local own = list[k].words[j]
        t.equal(own.text, word[1])
        t.near(own.from, word[2], 1e-6, ("case %d, %s"):format(i, word[1]))
        t.near(own.to, word[3], 1e-6, ("case %d, %s"):format(i, word[1]))
      end
    end
  end
end)

t.test("attention along a diagonal gives times along it", function()
  local rows = {}
  for token = 1, 6 do
    rows[token] = {}
    for frame = 1, 60 do rows[token][frame] = math.exp(-((frame - 10 * token + 5) ^ 2) / 20) + 1e-3 end
  end
  local attention = pl.tensor({ rows, rows }, { axes = { "head", "token", "frame" } })
  local begins = core.align(attention, 0, 6, 7)
  for token, frame in ipairs(begins) do t.near(frame, 10 * (token - 1), 2.01) end
  t.equal(#core.align(attention, 2, 3, 7), 3)
  t.raises(function() core.align(attention, 0, 7, 7) end, "align: expected attention")
  t.raises(function() core.align(attention, 0, 6, 8) end, "an odd width")
end)

t.test("transcripts as text and subtitles", function()
  local formats = require "perilune.speech.formats"
  local transcript = { text = " One. Two --> three.", language = "en", seconds = 3661.5, segments = { { from = 0, to = 1.2344, text = " One." },
    { from = 3600.5, to = 3661.5, text = " Two --> three." } } }
  t.equal(formats.whole(transcript, "text"), "One.\nTwo --> three.\n")
  t.equal(formats.whole(transcript, "text", true), "[00:00:00.000 --> 00:00:01.234] One.\n[01:00:00.500 --> 01:01:01.500] Two --> three.\n")
  t.equal(formats.whole(transcript, "srt"), "1\n00:00:00,000 --> 00:00:01,234\nOne.\n\n2\n01:00:00,500 --> 01:01:01,500\nTwo -> three.\n\n")
  t.equal(formats.whole(transcript, "vtt"), "WEBVTT\n\n00:00:00.000 --> 00:00:01.234\nOne.\n\n01:00:00.500 --> 01:01:01.500\nTwo -> three.\n\n")
  t.equal(pl.json.decode(formats.whole(transcript, "json")).segments[2].from, 3600.5)
end)
