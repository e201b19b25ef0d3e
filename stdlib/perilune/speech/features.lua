-- What a model hears of a part of a recording, as openai/whisper's transcribe.py makes it: frames that know the
-- samples before and after the part, none further below the loudest frame of the recording than 80 dB, and after the
-- recording's end zeros.
local core = require "perilune.core"

local features = {}

local frame = 160       -- samples
local margin = 320      -- samples around a part that its first and last frame may reach into
local range = 2         -- how far below the loudest: log_mel gives (log10 of power + 4) / 4
local at_once = 2 ^ 20  -- samples whose frames are made at once

--- The loudest frame of a recording, where it can be read twice; nil where it cannot.
---@param source table
---@param mels integer
---@return number|nil
function features.loudest(source, mels)
  local most
  source:each_part(at_once, function(samples)
    local loudest = core.log_mel(samples, mels, math.max(2, math.ceil(samples.shape.sample / frame))):max()
    most = math.max(most or loudest, loudest)
    if core.interrupted() then core.error { code = "cancelled", op = "speech", message = "interrupted", level = 1 } end
  end)
  return most
end

--- The features of a part.
---@param t table the transcriber: { mels=, frames= }
---@param source table
---@param at integer samples before the part, whole frames
---@param count integer samples of the part
---@return Tensor features [frame, mel]: t.frames of them
function features.of(t, source, at, count)
  local samples, before = source:take(at, count, margin)
  local first, content = before / frame, math.floor(count / frame)
  local made = core.log_mel(samples, t.mels, math.max(math.ceil(samples.shape.sample / frame), first + content + margin / frame))
  source.loudest = math.max(source.loudest or -math.huge, made:max())   -- of a pipe: of what was heard until now
  made = made:at { frame = { first + 1, first + content } }:clamp(source.loudest - range, math.huge)
  if content == t.frames then return made end
  return core.cat({ made, core.zeros({ t.frames - content, t.mels }, { axes = { "frame", "mel" } }) }, "frame")
end

return features
