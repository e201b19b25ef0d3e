-- Texts as templates see them: sequences of characters. UTF-8; a byte that belongs to no character
-- counts as one.
local core = require "perilune.core"
local budget = require "perilune.chat.jinja.budget"

local text = {}

-- One character of well-formed UTF-8 at `at`, or one byte.
local function character_end(s, at)
  local byte = s:byte(at)
  if byte < 0xC2 or byte > 0xF4 then return at end
  local count = byte < 0xE0 and 1 or byte < 0xF0 and 2 or 3
  for i = 1, count do
    local following = s:byte(at + i)
    if not following or following < 0x80 or following > 0xBF then return at end
  end
  return at + count
end

local function is_ascii(s) return not s:find "[\128-\255]" end

--- The characters of a text.
---@param s string
---@return string[]
function text.chars(s)
  budget.charge(#s / 16)
  local out, at, n = {}, 1, 0
  while at <= #s do
    local last = character_end(s, at)
    n = n + 1
    out[n] = s:sub(at, last)
    at = last + 1
  end
  return out
end

--- How many characters a text has.
---@param s string
---@return integer
function text.length(s)
  if is_ascii(s) then return #s end
  budget.charge(#s / 16)
  local n, at = 0, 1
  while at <= #s do
    at = character_end(s, at) + 1
    n = n + 1
  end
  return n
end

--- The text without the characters before byte `at` counted: for positions as characters.
---@param s string
---@param at integer byte
---@return integer characters before it
function text.characters_before(s, at) return text.length(s:sub(1, at - 1)) end

--- Characters first to last, from 0, half open, both within the text.
---@param s string
---@param first integer
---@param last integer
---@return string
function text.sub(s, first, last)
  if is_ascii(s) then return s:sub(first + 1, last) end
  return table.concat(text.chars(s), "", first + 1, last)
end

--- The number of a character; a stray byte is its own number.
---@param c string
---@return integer
function text.code(c)
  local a, b, d, e = c:byte(1, 4)
  if #c == 1 then return a end
  if #c == 2 then return (a - 0xC0) * 64 + b - 128 end
  if #c == 3 then return ((a - 0xE0) * 64 + b - 128) * 64 + d - 128 end
  return (((a - 0xF0) * 64 + b - 128) * 64 + d - 128) * 64 + e - 128
end

--- A character by its number.
---@param code integer
---@param at integer|nil place for the error
---@return string
function text.character(code, at)
  if code < 0 or code % 1 ~= 0 then budget.fail("no character has the number " .. code, at) end
  if code < 0x80 then return string.char(code) end
  local function tail(n, shift) return 128 + math.floor(n / shift) % 64 end
  if code < 0x800 then return string.char(0xC0 + math.floor(code / 64), tail(code, 1)) end
  if code < 0x10000 then return string.char(0xE0 + math.floor(code / 4096), tail(code, 64), tail(code, 1)) end
  if code > 0x10FFFF then budget.fail("no character has the number " .. code, at) end
  return string.char(0xF0 + math.floor(code / 262144), tail(code, 4096), tail(code, 64), tail(code, 1))
end

-- ---------------------------------------------------------------- spaces

local wide_spaces = { ["\194\133"] = true, ["\194\160"] = true, ["\225\154\128"] = true, ["\226\128\168"] = true, ["\226\128\169"] = true,
  ["\226\128\175"] = true, ["\226\129\159"] = true, ["\227\128\128"] = true }
for byte = 0x80, 0x8A do wide_spaces["\226\128" .. string.char(byte)] = true end

--- Whether a character is a space of any kind.
---@param c string
---@return boolean
function text.is_space(c) return c:find "^[%s\28-\31]$" ~= nil or wide_spaces[c] == true end

--- The first position from `at` that holds no space.
---@param s string
---@param at integer
---@return integer
function text.skip_spaces(s, at)
  while true do
    at = s:match("^[%s\28-\31]*()", at)
    local wide = wide_spaces[s:sub(at, at + 1)] and 2 or wide_spaces[s:sub(at, at + 2)] and 3
    if not wide then return at end
    at = at + wide
  end
end

-- The last byte that is not part of spaces at the end.
local function last_kept(s)
  local last = #s
  while last > 0 do
    if s:find("^[%s\28-\31]", last) then
      last = last - 1
    elseif wide_spaces[s:sub(last - 1, last)] then
      last = last - 2
    elseif wide_spaces[s:sub(last - 2, last)] then
      last = last - 3
    else
      break
    end
  end
  return last
end

local function set_of(chars)
  local set = {}
  for _, c in ipairs(text.chars(chars)) do set[c] = true end
  return set
end

--- Without spaces (or without any of `chars`) at the start.
---@param s string
---@param chars string|nil
---@return string
function text.lstrip(s, chars)
  if not chars then return s:sub(text.skip_spaces(s, 1)) end
  local set, at = set_of(chars), 1
  while at <= #s do
    local last = character_end(s, at)
    if not set[s:sub(at, last)] then break end
    at = last + 1
  end
  return s:sub(at)
end

--- Without spaces (or without any of `chars`) at the end.
---@param s string
---@param chars string|nil
---@return string
function text.rstrip(s, chars)
  if not chars then return s:sub(1, last_kept(s)) end
  local set, list = set_of(chars), text.chars(s)
  local last = #list
  while last > 0 and set[list[last]] do last = last - 1 end
  return table.concat(list, "", 1, last)
end

--- Both of lstrip and rstrip.
---@param s string
---@param chars string|nil
---@return string
function text.strip(s, chars) return text.lstrip(text.rstrip(s, chars), chars) end

-- ---------------------------------------------------------------- upper and lower case

--- A text in another case: "lower", "upper", "title", "capitalize", "swap" or "fold", as Python's str.
---@param s string
---@param wanted string
---@return string
function text.case(s, wanted)
  budget.charge(#s / 16)
  return core.change_case(s, wanted)
end

--- Small letters.
---@param s string
---@return string
function text.lower(s) return is_ascii(s) and s:lower() or text.case(s, "lower") end

--- Capitals.
---@param s string
---@return string
function text.upper(s) return is_ascii(s) and s:upper() or text.case(s, "upper") end

--- Whether every character is of a class: "alpha", "digit", "printable", …
---@param s string
---@param wanted string
---@return boolean
function text.all(s, wanted)
  budget.charge(#s / 16)
  return core.all_characters(s, wanted)
end

-- ---------------------------------------------------------------- parts

--- Where a plain text begins in another, from byte `from`.
---@param s string
---@param part string
---@param from integer|nil
---@return integer|nil byte
function text.find(s, part, from)
  budget.charge(#s / 256)
  return (s:find(part, from or 1, true))
end

--- Puts `new` where `old` is, at most `count` times.
---@param s string
---@param old string
---@param new string
---@param count integer|nil
---@return string
function text.replace(s, old, new, count)
  count = count and count >= 0 and count or math.huge
  local out, size, made = {}, #s, 0
  if old == "" then
    for _, c in ipairs(text.chars(s)) do
      if made < count then
        out[#out + 1], made, size = new, made + 1, size + #new
        budget.charge_bytes(size)
      end
      out[#out + 1] = c
    end
    if made < count then out[#out + 1] = new end
    return table.concat(out)
  end
  local from = 1
  while made < count do
    local start = s:find(old, from, true)
    if not start then break end
    out[#out + 1], out[#out + 2] = s:sub(from, start - 1), new
    from, made, size = start + #old, made + 1, size + #new - #old
    budget.charge(1)
    if #new > #old then budget.charge_bytes(math.max(size, 0) / 16) end
  end
  budget.charge_bytes(math.max(size, 0))
  out[#out + 1] = s:sub(from)
  return table.concat(out)
end

local function split_spaces(s, limit)
  local out, at = {}, text.skip_spaces(s, 1)
  while at <= #s do
    if #out == limit then
      out[#out + 1] = s:sub(at)
      return out
    end
    local stop = at
    while stop <= #s and text.skip_spaces(s, stop) == stop do stop = character_end(s, stop) + 1 end
    out[#out + 1] = s:sub(at, stop - 1)
    budget.charge(1)
    at = text.skip_spaces(s, stop)
  end
  return out
end

--- Pieces between separators (between runs of spaces without one), cut at most `limit` times.
---@param s string
---@param separator string|nil
---@param limit integer|nil negative: no limit
---@return string[]
function text.split(s, separator, limit)
  limit = limit and limit >= 0 and limit or math.huge
  budget.charge(#s / 64)
  if not separator then return split_spaces(s, limit) end
  if separator == "" then budget.fail "split: an empty separator" end
  local out, from = {}, 1
  while #out < limit do
    local start = s:find(separator, from, true)
    if not start then break end
    budget.charge(1)
    out[#out + 1] = s:sub(from, start - 1)
    from = start + #separator
  end
  out[#out + 1] = s:sub(from)
  return out
end

--- As split, counting cuts from the end.
---@param s string
---@param separator string|nil
---@param limit integer|nil
---@return string[]
function text.rsplit(s, separator, limit)
  if not limit or limit < 0 then return text.split(s, separator) end
  local function reversed_text(one) return table.concat((text.reversed(text.chars(one)))) end
  local pieces = text.split(reversed_text(s), separator and reversed_text(separator), limit)
  for i, piece in ipairs(pieces) do pieces[i] = reversed_text(piece) end
  return text.reversed(pieces)
end

--- A list turned round.
---@generic T
---@param list T[]
---@return T[]
function text.reversed(list)
  local out, n = {}, #list
  for i = 1, n do out[i] = list[n + 1 - i] end
  return out
end

--- Lines, without their ends unless `keep`.
---@param s string
---@param keep boolean|nil
---@return string[]
function text.lines(s, keep)
  local out, from, at = {}, 1, 1
  while at <= #s do
    local last = character_end(s, at)
    local c = s:sub(at, last)
    if c:find "^[\n\r\11\12\28-\30]$" or c == "\194\133" or c == "\226\128\168" or c == "\226\128\169" then
      if c == "\r" and s:sub(at + 1, at + 1) == "\n" then last = at + 1 end
      out[#out + 1] = s:sub(from, keep and last or at - 1)
      budget.charge(1)
      from = last + 1
    end
    at = last + 1
  end
  if from <= #s then out[#out + 1] = s:sub(from) end
  return out
end

return text
