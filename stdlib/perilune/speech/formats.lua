-- Transcripts as text, subtitles and data.
local core = require "perilune.core"

local formats = {}

local function clock(seconds, comma)
  local ms = math.floor(seconds * 1000 + 0.5)
  return ("%02d:%02d:%02d%s%03d"):format(math.floor(ms / 3600000), math.floor(ms / 60000) % 60, math.floor(ms / 1000) % 60, comma, ms % 1000)
end

local function trimmed(text) return (text:gsub("^%s+", ""):gsub("%s+$", "")) end

-- What a line of subtitles may not hold.
local function subtitle(text) return (trimmed(text):gsub("%-%->", "->"):gsub("%s*\n%s*", " ")) end

-- Each gives the text before all segments, and of one segment (i: its number, timed: with times).
local kinds = {
  text = { head = "", segment = function(s, _, timed)
    local text = trimmed(s.text)
    return (timed and ("[%s --> %s] %s\n"):format(clock(s.from, "."), clock(s.to, "."), text)) or text .. "\n"
  end },
  srt = { head = "", segment = function(s, i) return ("%d\n%s --> %s\n%s\n\n"):format(i, clock(s.from, ","), clock(s.to, ","), subtitle(s.text)) end },
  vtt = { head = "WEBVTT\n\n", segment = function(s) return ("%s --> %s\n%s\n\n"):format(clock(s.from, "."), clock(s.to, "."), subtitle(s.text)) end },
}

--- Names of the formats.
formats.names = { "text", "srt", "vtt", "json" }

--- What comes before the segments of a format; nil for one that is written as a whole.
---@param kind string
---@return string|nil
function formats.head(kind) return kinds[kind] and kinds[kind].head end

--- Whether what is written of one recording stands by itself, so that another's lines between would spoil it.
---@param kind string
---@return boolean
function formats.numbered(kind) return kind == "srt" or kind == "vtt" end

--- One segment.
---@param kind string "text" | "srt" | "vtt"
---@param segment table
---@param i integer its number, from 1
---@param timed boolean|nil of text: with its times
---@return string
function formats.segment(kind, segment, i, timed) return kinds[kind].segment(segment, i, timed) end

--- A whole transcript.
---@param transcript table
---@param kind string one of formats.names
---@param timed boolean|nil
---@param recording string|nil of json: whose it is, where several are written
---@return string
function formats.whole(transcript, kind, timed, recording)
  if kind == "json" then
    local list = {}
    for i, s in ipairs(transcript.segments) do
      list[i] = { from = s.from, to = s.to, text = s.text, words = s.words and core.array(s.words) or nil, temperature = s.temperature,
        logprob = s.logprob, no_speech = s.no_speech, compression = s.compression }
    end
    return core.write_json({ recording = recording, text = transcript.text, language = transcript.language, seconds = transcript.seconds,
      segments = core.array(list) }, 1) .. "\n"
  end
  local parts = { kinds[kind].head }
  for i, segment in ipairs(transcript.segments) do parts[#parts + 1] = kinds[kind].segment(segment, i, timed) end
  return table.concat(parts)
end

return formats
