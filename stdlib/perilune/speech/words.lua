-- When each word was said: from the heads of the decoder that look where it is (alignment_heads), by dynamic time
-- warping (openai/whisper, timing.py).
local core = require "perilune.core"
local trace = require "perilune.run.trace"

local words = {}

local step = 0.02                     -- seconds of one encoded frame
local samples_of_frame = 320
-- Marks that go with the word after and before them.
local opening, closing = "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、"
local ends = ".。!！?？"
-- Languages that write without spaces.
local unspaced = { zh = true, ja = true, th = true, lo = true, my = true, yue = true }

local function holds(marks, text) return text ~= "" and marks:find(text, 1, true) ~= nil end

-- Ids as pieces of whole characters: { text=, count= (ids) }.
local function pieces_of(tokenizer, ids)
  local decoder, list, waiting = tokenizer:decoder(), {}, 0
  for _, id in ipairs(ids) do
    local text = decoder:push(id)
    waiting = waiting + 1
    if text ~= "" then
      list[#list + 1] = { text = text, count = waiting }
      waiting = 0
    end
  end
  local rest = decoder:flush()
  if waiting > 0 then list[#list + 1] = { text = rest, count = waiting } end
  return list
end

--- Ids as words, each with the space before it: { text=, count= }.
---@param tokenizer Tokenizer
---@param ids integer[]
---@param language string|nil
---@return table[]
function words.split(tokenizer, ids, language)
  local list = {}
  for _, piece in ipairs(pieces_of(tokenizer, ids)) do
    local bare = piece.text:gsub("^%s+", "")
    local mark = bare ~= "" and not bare:find "[%w\128-\255]"
    if #list == 0 or unspaced[language] or piece.text:find "^%s" or mark then
      list[#list + 1] = piece
    else
      local last = list[#list]
      last.text, last.count = last.text .. piece.text, last.count + piece.count
    end
  end
  return list
end

-- Marks go to the words that they belong to, whose times they do not change; ids stay in order.
local function merge_marks(list)
  local out = {}
  for i = #list, 1, -1 do
    local word, after = list[i], out[1]
    if after and word.text:find "^%s" and holds(opening, (word.text:gsub("^%s+", ""))) then
      after.text, after.count = word.text .. after.text, word.count + after.count
    else
      table.insert(out, 1, word)
    end
  end
  local joined = {}
  for _, word in ipairs(out) do
    local before = joined[#joined]
    if before and not before.text:find "%s$" and holds(closing, word.text) then
      before.text, before.count = before.text .. word.text, before.count + word.count
    else
      joined[#joined + 1] = word
    end
  end
  return joined
end

-- Which heads look where a word is: the files say, else all of the last half of the layers.
local function heads_of(m)
  local s = rawget(m, "state_")
  local given, list = s.generation.alignment_heads, {}
  local layers, count = s.c.layers.decoder, s.c.decoder_axes.head
  for _, pair in ipairs(type(given) == "table" and given or {}) do
    local layer, head = pair[1], pair[2]
    if type(layer) == "number" and type(head) == "number" and layer >= 0 and layer < layers and head >= 0 and head < count then
      list[#list + 1] = { layer, head }
    end
  end
  if #list > 0 then return list end
  for layer = math.floor(layers / 2), layers - 1 do
    for head = 0, count - 1 do list[#list + 1] = { layer, head } end
  end
  return list
end

-- Frames at which the tokens of a text, and then its end, begin.
local function frames_of(t, one, ids, o)
  local m, s = t.model, t.special
  local decoder = { s.start }
  if s.multilingual then
    decoder[2], decoder[3] = s.languages[o.language], o.task == "translate" and s.translate or s.transcribe
  end
  local before = #decoder
  decoder[before + 1] = s.no_times
  for _, id in ipairs(ids) do decoder[#decoder + 1] = id end
  decoder[#decoder + 1] = s.stop
  local heads, paths, seen = heads_of(m), {}, {}
  for _, pair in ipairs(heads) do
    local path = ("decoder.layers.%d.cross_attention.weights"):format(pair[1])
    if not seen[path] then paths[#paths + 1], seen[path] = path, true end
  end
  local traced = trace.trace(m, core.batch(nil, { inputs = { features = { one.features } } }), paths, { decoder = { decoder } })
  local frames, list = math.max(1, math.floor(one.samples / samples_of_frame)), {}
  for i, pair in ipairs(heads) do
    local weights = traced[("decoder.layers.%d.cross_attention.weights"):format(pair[1])]
    list[i] = weights:at { head = pair[2] + 1, key = { 1, frames } }
  end
  local width = m.config.median_filter_width or 7
  return core.align(core.stack(list, "head"):order("head", "token", "key"), before, #ids + 1, width)
end

-- How long words of a window last, in seconds: the median, at most 0.7.
local function usual_length(list)
  local lengths = {}
  for _, word in ipairs(list) do if word.to > word.from then lengths[#lengths + 1] = word.to - word.from end end
  if #lengths == 0 then return 0 end
  table.sort(lengths)
  local low, high = math.ceil(#lengths / 2), math.floor(#lengths / 2) + 1
  return math.min(0.7, (lengths[low] + lengths[high]) / 2)
end

-- Words that last too long at the end of a sentence are cut: the model looks into the pause after them.
local function cut_long(list, usual)
  local most = 2 * usual
  if usual == 0 then return end
  for i = 2, #list do
    local word = list[i]
    if word.to - word.from > most then
      if holds(ends, (word.text:gsub("^%s+", ""))) then
        word.to = word.from + most
      elseif holds(ends, (list[i - 1].text:gsub("^%s+", ""))) then
        word.from = word.to - most
      end
    end
  end
end

-- The first words after a pause are cut likewise.
local function cut_first(list, usual, spoken)
  local first, second, most = list[1], list[2], 2 * usual
  if first.to - spoken <= 4 * usual then return end
  if first.to - first.from <= most and not (second and second.to - first.from > 2 * most) then return end
  if second and second.to - second.from > most then
    second.from = math.max(second.to / 2, second.to - most)
    first.to = second.from
  end
  first.from = math.max(0, first.to - most)
end

-- A segment begins and ends with its words, but where its first or last word reaches far beyond it.
local function join_ends(segment, usual)
  local first, last = segment.words[1], segment.words[#segment.words]
  if segment.from < first.to and segment.from - 0.5 > first.from then
    first.from = math.max(0, math.min(first.to - usual, segment.from))
  else
    segment.from = first.from
  end
  if segment.to > last.from and segment.to + 0.5 < last.to then
    last.to = math.max(last.from + usual, segment.to)
  else
    segment.to = last.to
  end
end

--- Gives segments their words, with which they begin and end.
---@param all table[] a window's words: { from=, to= (seconds of the recording), text=, count= (ids) }
---@param list table[] its segments: { from=, to=, ids= }
---@param spoken number seconds: where the words before end
---@return number spoken where these end
function words.place(all, list, spoken)
  local usual = usual_length(all)
  cut_long(all, usual)
  all = merge_marks(all)
  local next_word, taken, until_now = 1, 0, 0
  for _, segment in ipairs(list) do
    until_now = until_now + #segment.ids
    segment.words = {}
    while all[next_word] and taken < until_now do
      local word = all[next_word]
      segment.words[#segment.words + 1] = { from = word.from, to = word.to, text = word.text }
      taken, next_word = taken + word.count, next_word + 1
    end
    if #segment.words > 0 then
      cut_first(segment.words, usual, spoken)
      join_ends(segment, usual)
      spoken = segment.to
    end
  end
  return spoken
end

--- Finds when the words of one window are said, and gives its segments theirs.
---@param t table the transcriber
---@param one table the window: { at=, samples=, features= }
---@param list table[] its segments
---@param o table { language=, task= }
---@param spoken number seconds: where the words before end
---@return number spoken where these end
function words.add(t, one, list, o, spoken)
  local ids = {}
  for _, segment in ipairs(list) do for _, id in ipairs(segment.ids) do ids[#ids + 1] = id end end
  if #ids + 5 > t.positions then return spoken end
  local frames, offset = frames_of(t, one, ids, o), one.at / 16000
  local all, at = words.split(t.model.tokenizer, ids, o.language), 0
  for _, word in ipairs(all) do
    word.from, word.to = offset + frames[at + 1] * step, offset + frames[at + word.count + 1] * step
    at = at + word.count
  end
  return words.place(all, list, spoken)
end

return words
