-- Stops where m:generate chooses a token: the likeliest tokens, what processors did to them, and other ways to go on.
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"

local token_stops = {}

local shown = 5   -- rivals that a stop prints

local function quoted(text) return '"' .. text:gsub("\n", "\\n") .. '"' end

-- A token as a person reads it: its text within a text, where there is a tokenizer.
local function piece_of(d, id)
  local tokenizer = d.model.tokenizer
  if not tokenizer then return tostring(id) end
  local piece = tokenizer:piece(id):gsub("▁", " ")
  return quoted(piece)
end

-- The n likeliest by a row of scores, with what they had before processors.
local function rivals(row, raw, n)
  local chances, before = row:softmax "vocab", raw:softmax "vocab"
  local values, at = chances:topk(math.min(n, row:size "vocab"), "vocab")
  local list, probabilities, ids = {}, values:tolist(), at:tolist()
  for i, id in ipairs(ids) do list[i] = { id = id, probability = probabilities[i], before = before:at({ vocab = id }):item() } end
  return list
end

local function rivals_text(d, list)
  local lines = {}
  for i, one in ipairs(list) do
    local changed = math.abs(one.probability - one.before) > 1e-6 and ("  (%.4f before processors)"):format(one.before) or ""
    lines[i] = ("  %7d  %-16s %.4f%s"):format(one.id, piece_of(d, one.id), one.probability, changed)
  end
  return table.concat(lines, "\n")
end

-- The processors of the call between two of ours: the first keeps the scores as the model gave them, the last stops.
local function processors(d, given)
  local raw
  local list = { function(row) raw = row:copy() end }
  if type(given) == "function" then given = { given } end
  for _, one in ipairs(given or {}) do list[#list + 1] = one end
  list[#list + 1] = function(row, state)
    local place = { op = "token", path = "token", row = row, raw = raw, t = row, step = state.step, ids = state.ids, text = state.text,
      rivals = rivals(row, raw, shown) }
    place.head = ("[%d] token %d after %s\n%s"):format(#d.stops + 1, state.step + 1, quoted(state.text:sub(-60)), rivals_text(d, place.rivals))
    d:visit(place)
  end
  return list
end

--- Options of m:generate that stop at every token.
---@param d table the debugging
---@param input any
---@param generate table|boolean options of m:generate
---@param given table other options of m:debug
---@return table
function token_stops.options(d, input, generate, given)
  if generate ~= true and type(generate) ~= "table" then
    raise("option", "debug", "option generate: expected true or the options of m:generate, got " .. options.show(generate))
  end
  if next(given) ~= nil then
    raise("option", "debug", "unknown option " .. options.show((next(given))), "options of m:generate stand in generate={ … }")
  end
  if type(input) == "table" and type(input[1]) ~= "number" and input[1] ~= nil then
    raise("argument", "debug", "one prompt is debugged at a time, got a list")
  end
  local o = {}
  for key, value in pairs(generate == true and {} or generate) do o[key] = value end
  o.processors = processors(d, o.processors)
  local on_token = o.on_token
  o.on_token = function(text, event)
    if not d.target then d:say(("chose %d %s"):format(event.id, piece_of(d, event.id))) end
    if on_token then on_token(text, event) end
  end
  return o
end

-- "261", "time" or '" time"' → an id.
local function token_of(d, word, command)
  local id = tonumber(word)
  local text = word:match '^"(.*)"$' or word
  if not id and d.model.tokenizer then
    local ids = d.model.tokenizer:ids(text, { special = false })
    if #ids ~= 1 and text:sub(1, 1) == " " then ids = d.model.tokenizer:ids(text:sub(2), { special = false }) end
    if #ids ~= 1 then
      raise("argument", command, ("%s is not one token but %d"):format(quoted(text), #ids), ":rivals lists tokens with their ids")
    end
    id = ids[1]
  end
  if not id or id < 0 or id >= d.model.vocab_size or id % 1 ~= 0 then
    raise("argument", command, ("no token is %s"):format(quoted(word)), "give an id or the text of one token")
  end
  return id
end

--- :rivals N
---@param d table
---@param place table
---@param rest string
function token_stops.rivals(d, place, rest)
  local n = rest == "" and 10 or tonumber(rest)
  if not n or n < 1 then raise("argument", "rivals", ("expected how many, got %s"):format(quoted(rest))) end
  d:say(rivals_text(d, rivals(place.row, place.raw, n)))
end

--- :choose TOKEN: no other can be chosen.
---@param d table
---@param place table
---@param rest string
function token_stops.choose(d, place, rest)
  local id = token_of(d, rest, "choose")
  place.row:set(-math.huge)
  place.row:set(0, { vocab = id })
  d:say(("the next token is %d %s"):format(id, piece_of(d, id)))
end

-- Words of a line; quotes keep spaces.
local function words_of(text)
  local list = {}
  for word in text:gsub('"(.-)"', function(inside) return '"' .. inside:gsub(" ", "\1") .. '"' end):gmatch "%S+" do
    list[#list + 1] = (word:gsub("\1", " "))
  end
  return list
end

--- :fork TOKENS: how the text goes on with each of them, 12 tokens far; without any, with the two likeliest.
---@param d table
---@param place table
---@param rest string
function token_stops.fork(d, place, rest)
  local ids = {}
  for i, word in ipairs(words_of(rest)) do ids[i] = token_of(d, word, "fork") end
  if #ids == 0 then
    for i = 1, math.min(2, #place.rivals) do ids[i] = place.rivals[i].id end
  end
  for _, id in ipairs(ids) do
    local whole = {}
    for i, one in ipairs(place.ids) do whole[i] = one end
    whole[#whole + 1] = id
    local r = d.model:generate({ ids = whole }, { max_new_tokens = 12, do_sample = false, reuse = true })
    d:say(("  %-16s %s"):format(piece_of(d, id), r.error or quoted(r.text)))
  end
end

return token_stops
