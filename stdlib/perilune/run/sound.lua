-- pl.sound: samples from files and features from samples.
local core = require "perilune.core"
local options = require "perilune.base.options"
local raise = require "perilune.base.raise"
local kind = require "perilune.base.kind"
local progress = require "perilune.base.progress"

local sound = {}

-- What models of speech hear.
local model_rate = 16000
-- Longer than most recordings; a gigabyte of samples.
local most_seconds = 4 * 3600

local function expect_samples(samples, op)
  if kind.of(samples) == "Tensor" then return samples end
  return raise("argument", op, "samples: expected a Tensor [sample], got " .. options.show(samples), "pl.sound.read(path) gives one")
end

local open_spec = { rate = "positive", follow = "boolean" }

--- Opens a sound file to be read piece by piece. Channels are averaged, and any rate becomes the one asked for
--- through a windowed sinc. `path` may be a pipe ("/dev/stdin") with a WAV file in it. With `follow` the end of a
--- file that is being written is looked for again at every read: nil is then "nothing yet".
---
---     local path = os.tmpname() .. ".wav"
---     pl.sound.write(path, pl.zeros({ 48000 }, { axes = { "sample" } }), { rate = 48000 })
---     local s = pl.sound.open(path)
---     print(s.rate, s.channels, s.seconds, s:read(8000).shape, s.format)    --> 48000	1	1	[sample=8000]	WAV, Signed 16 bit PCM
---     s:close()
---     os.remove(path)
---@param path string WAV, FLAC, OGG and what else libsndfile reads
---@param opts table|nil { rate=16000 (samples a second that read gives), follow=false }
---@return Sound s s:read(most) → Tensor [sample] or nil at the end; s.rate, s.channels, s.format of the file; s.seconds (nil of a pipe); s:close()
function sound.open(path, opts)
  local o = options.check(opts, open_spec, "sound.open")
  return core.sound_open(path, o.rate or model_rate, o.follow == true)
end

local function read_parts(s, path, rate, limit, tick)
  local parts, count, most = {}, 0, math.floor(limit * rate)
  for part in function() return s:read(2 ^ 20) end do
    parts[#parts + 1], count = part, count + part.shape.sample
    if count > most then
      raise("length", "sound.read", ("%s: is longer than %g seconds"):format(path, limit), "raise the option seconds, or read pieces: pl.sound.open")
    end
    tick(count / rate, s.seconds)
  end
  return parts
end

--- All samples of a sound file: one channel, about -1 to 1, 16000 a second unless another rate is asked for. A file
--- longer than `seconds` raises.
---
---     local path = os.tmpname() .. ".flac"
---     pl.sound.write(path, pl.random({ 8000 }, { low = -1, axes = { "sample" } }))
---     print(pl.sound.read(path).shape)                                      --> [sample=8000]
---     os.remove(path)
---@param path string
---@param opts table|nil { rate=16000, seconds=14400 }
---@return Tensor samples f32 [sample]
---@return table about { rate=, channels=, format= } of the file
function sound.read(path, opts)
  local o = options.check(opts, { rate = "positive", seconds = "number" }, "sound.read")
  local rate, limit = o.rate or model_rate, o.seconds or most_seconds
  if limit <= 0 then raise("option", "sound.read", "option seconds: expected a number above 0, got " .. limit) end
  local s = core.sound_open(path, rate, false)
  local about = { rate = s.rate, channels = s.channels, format = s.format }
  local fine, parts = pcall(progress.during, "sound.read", nil, function(tick) return read_parts(s, path, rate, limit, tick) end, "seconds")
  s:close()
  if not fine then error(parts, 0) end
  if #parts == 0 then return core.zeros({ 0 }, { axes = { "sample" } }), about end
  return #parts == 1 and parts[1] or core.cat(parts, "sample"), about
end

--- Writes samples as a .wav or .flac file of one channel.
---
---     local path = os.tmpname() .. ".wav"
---     pl.sound.write(path, pl.ones({ 4 }, { axes = { "sample" } }) * 0.5, { store = "f32" })
---     print(table.concat(pl.sound.read(path):tolist(), " "))                --> 0.5 0.5 0.5 0.5
---     os.remove(path)
---@param path string its end says the kind
---@param samples Tensor [sample], -1 to 1
---@param opts table|nil { rate=16000, store="i16"|"f32" (.wav alone) }
function sound.write(path, samples, opts)
  local o = options.check(opts, { rate = "positive", store = { "i16", "f32" } }, "sound.write")
  core.sound_write(path, expect_samples(samples, "sound.write"), o.rate or model_rate, o.store or "i16")
end

--- Samples at another rate.
---
---     print(pl.sound.resample(pl.zeros({ 44100 }, { axes = { "sample" } }), { from = 44100 }).shape)   --> [sample=16000]
---@param samples Tensor [sample]
---@param opts table { from= (samples a second), to=16000 }
---@return Tensor samples f32 [sample]
function sound.resample(samples, opts)
  local o = options.check(opts, { from = "positive", to = "positive" }, "sound.resample")
  if not o.from then raise("option", "sound.resample", "option from: say how many samples a second these are") end
  return core.resample(expect_samples(samples, "sound.resample"), o.from, o.to or model_rate)
end

--- The features that Whisper hears: 100 frames a second, each the logarithms of `mels` bands, as the published
--- WhisperFeatureExtractor makes them. With `frames` zeros are put after the samples; without it they are rounded
--- down to whole frames.
---
---     local samples = pl.random({ 16000 }, { low = -1, axes = { "sample" } })
---     print(pl.sound.log_mel(samples).shape)                                --> [frame=100, mel=80]
---     print(pl.sound.log_mel(samples, { mels = 128, frames = 3000 }).shape) --> [frame=3000, mel=128]
---@param samples Tensor [sample], 16000 a second
---@param opts table|nil { mels=80, frames=n }
---@return Tensor features f32 [frame, mel]
function sound.log_mel(samples, opts)
  local o = options.check(opts, { mels = "positive", frames = "positive" }, "sound.log_mel")
  return core.log_mel(expect_samples(samples, "sound.log_mel"), o.mels or 80, o.frames or 0)
end

return sound
