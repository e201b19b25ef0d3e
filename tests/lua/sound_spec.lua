-- pl.sound: files of any rate and channels, damaged ones, features against their definition.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"
local little_endian = require("safetensors_of").little_endian

if not pl.try(pl.sound.log_mel, pl.zeros({ 400 }, { axes = { "sample" } })) then t.skip "built without the libraries of sound" end

local function temporary(ending) return os.tmpname() .. ending end

local function written(bytes, ending)
  local path = temporary(ending or ".wav")
  core.write_file(path, bytes)
  return path
end

-- A WAV file of 16-bit numbers, interleaved; `claim` replaces the length that the header gives.
local function wav(rate, channels, values, claim)
  local data = {}
  for i, value in ipairs(values) do data[i] = little_endian(value % 65536, 2) end
  data = table.concat(data)
  local size = claim or #data
  return "RIFF" .. little_endian((36 + size) % 2 ^ 32, 4) .. "WAVEfmt " .. little_endian(16, 4) .. little_endian(1, 2) .. little_endian(channels, 2)
    .. little_endian(rate, 4) .. little_endian(rate * channels * 2, 4) .. little_endian(channels * 2, 2) .. little_endian(16, 2)
    .. "data" .. little_endian(size, 4) .. data
end

local function tone(rate, hertz, seconds)
  local list = {}
  for i = 0, rate * seconds - 1 do list[i + 1] = 0.5 * math.sin(2 * math.pi * hertz * i / rate) end
  return list
end

t.test("channels are averaged", function()
  local path = written(wav(16000, 2, { 16384, 0, -16384, -16384, 0, 8192 }))
  local samples, about = pl.sound.read(path)
  t.equal(samples:tolist(), { 0.25, -0.5, 0.125 })
  t.equal(about, { rate = 16000, channels = 2, format = "WAV, Signed 16 bit PCM" })
  os.remove(path)
end)

t.test("a tone at another rate is the same tone", function()
  for _, rate in ipairs { 8000, 11025, 22050, 44100, 48000, 96000 } do
    local path = temporary ".wav"
    pl.sound.write(path, pl.tensor(tone(rate, 440, 1), { axes = { "sample" } }), { rate = rate, store = "f32" })
    local samples = pl.sound.read(path):tolist()
    local wanted = tone(16000, 440, 1)
    t.ok(math.abs(#samples - 16000) <= 1, rate .. ": " .. #samples)
    for i = 801, 15200 do t.near(samples[i], wanted[i], 2e-4, rate .. " at " .. i) end   -- the ends ring
    os.remove(path)
  end
end)

t.test("read whole, in pieces and from FLAC it is the same", function()
  local samples = pl.random({ 30011 }, { seed = 3, low = -0.9, high = 0.9, axes = { "sample" } })
  local path, flac = temporary ".wav", temporary ".flac"
  pl.sound.write(path, samples, { rate = 22050 })
  pl.sound.write(flac, samples, { rate = 22050 })
  local whole = pl.sound.read(path)
  t.ok(whole:close(pl.sound.read(flac), 1e-4))   -- libsndfile rounds for the two otherwise
  local s, parts = pl.sound.open(path), {}
  for _, n in ipairs { 1, 7, 4096, 100, 9999, 100000 } do parts[#parts + 1] = s:read(n) end
  t.equal(s:read(1), nil)
  t.ok(whole:equal(pl.cat(parts, "sample")))
  s:close()
  t.raises(function() s:read(1) end, "read: the sound was closed")
  os.remove(path)
  os.remove(flac)
end)

t.test("a growing file is read on", function()
  local bytes = wav(16000, 1, { 1, 2, 3, 4, 5, 6 }, 2 ^ 32 - 1)   -- a recorder that does not know its length yet
  local path = written(bytes:sub(1, 44 + 4))
  local s = pl.sound.open(path, { follow = true })
  t.equal((s:read(100) * 32768):tolist(), { 1, 2 })
  t.equal(s:read(100), nil)
  core.write_file(path, bytes)
  t.equal((s:read(100) * 32768):tolist(), { 3, 4, 5, 6 })
  os.remove(path)
end)

t.test("features are what their definition says", function()
  local samples = pl.random({ 1600 }, { seed = 5, low = -0.3, high = 0.3, axes = { "sample" } })
  local x, frames, mels = samples:tolist(), 12, 20   -- 320 zeros after them
  local length = frames * 160
  local function hertz_of(mel) return mel < 15 and mel * 200 / 3 or 1000 * math.exp(math.log(6.4) / 27 * (mel - 15)) end
  local top, logs, largest = 15 + math.log(8) / (math.log(6.4) / 27), {}, -math.huge
  for f = 0, frames - 1 do
    local power = {}
    for k = 0, 200 do
      local re, im = 0, 0
      for n = 0, 399 do
        local place = math.abs(f * 160 - 200 + n)
        if place >= length then place = 2 * (length - 1) - place end
        local value = (x[place + 1] or 0) * (0.5 - 0.5 * math.cos(2 * math.pi * n / 400))
        re, im = re + value * math.cos(2 * math.pi * k * n / 400), im - value * math.sin(2 * math.pi * k * n / 400)
      end
      power[k] = re * re + im * im
    end
    for m = 1, mels do
      local low, mid, high = hertz_of(top * (m - 1) / (mels + 1)), hertz_of(top * m / (mels + 1)), hertz_of(top * (m + 1) / (mels + 1))
      local sum = 0
      for k = 0, 200 do
        local weight = math.min((k * 40 - low) / (mid - low), (high - k * 40) / (high - mid))
        if weight > 0 then sum = sum + weight * 2 / (high - low) * power[k] end
      end
      logs[#logs + 1] = math.log10(math.max(sum, 1e-10))
      largest = math.max(largest, logs[#logs])
    end
  end
  local ours = pl.sound.log_mel(samples, { mels = mels, frames = frames })
  t.equal(tostring(ours.shape), "[frame=12, mel=20]")
  for i, row in ipairs(ours:tolist()) do
    for m, value in ipairs(row) do t.near(value, (math.max(logs[(i - 1) * mels + m], largest - 8) + 4) / 4, 1e-4) end
  end
end)

t.test("silence has features", function()
  local ours = pl.sound.log_mel(pl.zeros({ 1000 }, { axes = { "sample" } }), { frames = 100 })
  t.equal({ ours:min(), ours:max() }, { -1.5, -1.5 })
end)

t.test("what cannot be heard is an error", function()
  local samples = pl.zeros({ 1000 }, { axes = { "sample" } })
  for _, case in ipairs {
    { function() pl.sound.read "no/such.wav" end, "file", "no/such.wav: No such file" },
    { function() pl.sound.read "tests" end, "file", "tests: is a folder" },
    { function() pl.sound.open(1) end, "argument", "path" },
    { function() pl.sound.open("x", { rate = 10 }) end, "option", "10 samples a second is not from 1000" },
    { function() pl.sound.open("x", { rates = 10 }) end, "option", 'did you mean "rate"' },
    { function() pl.sound.log_mel(samples, { mels = 300 }) end, "option", "mels" },
    { function() pl.sound.log_mel(samples, { frames = 5 }) end, "length", "1000 samples are more than 5 frames hold (800)" },
    { function() pl.sound.log_mel(samples:at { sample = { 1, 100 } }) end, "argument", "100 samples are too few" },
    { function() pl.sound.log_mel { 1, 2 } end, "argument", "expected a Tensor [sample]" },
    { function() pl.sound.log_mel(pl.zeros { 2, 400 }) end, "shape", "samples have one axis" },
    { function() pl.sound.write("x.mp4", samples) end, "unsupported", "ends neither in .wav nor .flac" },
    { function() pl.sound.write("x.flac", samples, { store = "f32" }) end, "unsupported", "whole numbers" },
    { function() pl.sound.write("no/such/x.wav", samples) end, "file", "no/such/x.wav" },
    { function() pl.sound.resample(samples) end, "option", "option from" },
  } do t.equal(t.raises_text(case[1], case[3]).code, case[2]) end
end)

t.test("damaged files are errors, or shorter sounds", function()
  local path = temporary ".flac"
  pl.sound.write(path, pl.random({ 3000 }, { seed = 1, low = -1, axes = { "sample" } }))
  local flac = core.read_file(path)
  os.remove(path)
  local good = wav(16000, 1, { 1, 2, 3, 4 })
  local cases = { "", "RIFF", ("x"):rep(5000), good:sub(1, 30), wav(0, 1, {}), wav(16000, 0, { 1 }), wav(16000, 60000, { 1, 2 }),
    wav(2 ^ 31, 1, { 1 }), flac:sub(1, 60) }
  for i, bytes in ipairs(cases) do
    local file = written(bytes)
    local _, err = pl.try(pl.sound.read, file)
    t.ok(type(err) == "table" and (err.code == "format" or err.code == "unsupported"), "case " .. i .. ": " .. tostring(err))
    os.remove(file)
  end
  local claims = written(wav(16000, 1, { 1, 2, 3, 4 }, 2 ^ 32 - 1))
  t.equal(pl.sound.read(claims).shape.sample, 4)
  t.raises(function() pl.sound.read(claims, { seconds = 1e-4 }) end, "is longer than 0.0001 seconds")
  os.remove(claims)
  for cut = 1, #flac, 97 do   -- a byte changed, and the end missing
    local file = written(flac:sub(1, cut - 1) .. string.char((flac:byte(cut) + 113) % 256) .. flac:sub(cut + 1), ".flac")
    local got, err = pl.try(pl.sound.read, file)
    t.ok(got or type(err) == "table", tostring(err))
    os.remove(file)
  end
end)

t.test("a sample that is no number is an error", function()
  local path = temporary ".wav"
  pl.sound.write(path, pl.tensor({ 0, 1 / 0, 0 }, { axes = { "sample" } }), { store = "f32" })
  t.raises(function() pl.sound.read(path) end, "sample 2 is not a finite number")
  pl.sound.write(path, pl.tensor({ 0, 0, -1e30 }, { axes = { "sample" } }), { store = "f32" })
  t.raises(function() pl.sound.read(path) end, "sample 3 is above 1e9")
  os.remove(path)
end)
