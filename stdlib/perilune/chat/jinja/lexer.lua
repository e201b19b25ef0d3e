-- Tokens of a template. Whitespace is controlled as published chat templates expect: the newline
-- after a tag goes, and so do spaces before a tag that begins a line; "-" strips, "+" keeps.
local budget = require "perilune.chat.jinja.budget"
local text = require "perilune.chat.jinja.text"

local lexer = {}

-- Longest first.
local operators = { "//", "**", "==", "!=", ">=", "<=", "~", "|", "+", "-", "/", "*", "%", "[", "]", "(", ")", "{", "}", ">", "<",
  "=", ".", ":", ",", ";" }
local by_first = {}
for _, operator in ipairs(operators) do
  local first = operator:sub(1, 1)
  by_first[first] = by_first[first] or {}
  table.insert(by_first[first], operator)
end

local closing = { ["{"] = "}", ["("] = ")", ["["] = "]" }
local plain_escapes = { n = "\n", t = "\t", r = "\r", a = "\a", b = "\b", f = "\f", v = "\v", ["\\"] = "\\", ["'"] = "'", ['"'] = '"',
  ["\n"] = "" }
local hex_digits = { x = 2, u = 4, U = 8 }

-- What an escape stands for, and where the text goes on. `at` is the backslash.
local function read_escape(source, at)
  local letter = source:sub(at + 1, at + 1)
  if plain_escapes[letter] then return plain_escapes[letter], at + 2 end
  local octal = source:match("^[0-7][0-7]?[0-7]?", at + 1)
  if octal then return text.character(tonumber(octal, 8)), at + 1 + #octal end
  local count = hex_digits[letter]
  if not count then return "\\", at + 1 end
  local digits = source:sub(at + 2, at + 1 + count):match "^%x+$"
  if not digits or #digits < count then budget.fail("a \\" .. letter .. " escape needs " .. count .. " hexadecimal digits", at) end
  return text.character(tonumber(digits, 16), at), at + 2 + count
end

-- A quoted string from `at`: its value and the position after it; nil when it does not end.
local function read_string(source, at)
  local quote, out, from = source:sub(at, at), {}, at + 1
  while true do
    local stop = source:find("[" .. quote .. "\\]", from)
    if not stop then return nil end
    out[#out + 1] = source:sub(from, stop - 1)
    if source:sub(stop, stop) == quote then return table.concat(out), stop + 1 end
    out[#out + 1], from = read_escape(source, stop)
  end
end

-- The digits of a number with single underscores between them; "" where there are none.
local function digits_at(source, at, class)
  local last = at - 1
  while true do
    local stop = select(2, source:find("^" .. class .. "+", last + 1))
    if not stop then return source:sub(at, last) end
    last = stop
    if source:find("^_" .. class, last + 1) then last = last + 1 else return source:sub(at, last) end
  end
end

local bases = { b = { 2, "[01]" }, o = { 8, "[0-7]" }, x = { 16, "%x" } }

local function read_number(source, at)
  local base = source:match("^0([bBoOxX])_?%x", at)
  if base then
    local kind = bases[base:lower()]
    local from = at + 2 + (source:sub(at + 2, at + 2) == "_" and 1 or 0)
    local digits = digits_at(source, from, kind[2])
    if digits ~= "" then return "integer", tonumber((digits:gsub("_", "")), kind[1]), from + #digits end
  end
  local whole = digits_at(source, at, "%d")
  local stop, is_float = at + #whole, false
  if source:sub(at - 1, at - 1) ~= "." then
    local fraction = source:sub(stop, stop) == "." and digits_at(source, stop + 1, "%d") or ""
    local after = fraction ~= "" and stop + 1 + #fraction or stop
    local sign = source:match("^[eE]([+-]?)%d", after)
    if sign then
      stop, is_float = after + 1 + #sign + #digits_at(source, after + 1 + #sign, "%d"), true
    elseif fraction ~= "" then
      stop, is_float = after, true
    end
  end
  local value = tonumber((source:sub(at, stop - 1):gsub("_", "")), 10) or tonumber((source:sub(at, stop - 1):gsub("_", "")))
  if not is_float and value > 2 ^ 53 then value = (source:sub(at, stop - 1):gsub("_", "")) end   -- its digits
  return is_float and "float" or "integer", value, stop
end

-- The end of a tag at `at`, if one is there: the position after it.
local function tag_end(source, at, close)
  local sign = source:match("^[-+]", at) or ""
  if sign == "+" and close == "}}" then return nil end
  if source:sub(at + #sign, at + #sign + 1) ~= close then return nil end
  local after = at + #sign + 2
  if sign == "-" then return text.skip_spaces(source, after) end
  if sign == "" and close == "%}" and source:sub(after, after) == "\n" then return after + 1 end
  return after
end

local function add(tokens, kind, value, at)
  budget.charge(1)
  tokens[#tokens + 1] = { type = kind, value = value, at = at }
end

-- One token inside a tag; the position after it.
local function read_inner(source, at, tokens, open)
  local first = source:sub(at, at)
  local name = source:match("^[%a_\128-\255][%w_\128-\255]*", at)
  if name then
    add(tokens, "name", name, at)
    return at + #name
  end
  if first:find "%d" then
    local kind, value, after = read_number(source, at)
    add(tokens, kind, value, at)
    return after
  end
  if first == "'" or first == '"' then
    local value, after = read_string(source, at)
    if not value then budget.fail("a string is not closed", at) end
    add(tokens, "string", value, at)
    return after
  end
  for _, operator in ipairs(by_first[first] or {}) do
    if source:sub(at, at + #operator - 1) == operator then
      if closing[operator] then
        open[#open + 1] = closing[operator]
      elseif operator == "}" or operator == ")" or operator == "]" then
        local wanted = table.remove(open)
        if wanted ~= operator then
          budget.fail(("unexpected '%s'%s"):format(operator, wanted and ", expected '" .. wanted .. "'" or ""), at)
        end
      end
      add(tokens, operator, operator, at)
      return at + #operator
    end
  end
  return budget.fail("unexpected character '" .. text.chars(source:sub(at, at + 3))[1] .. "'", at)
end

local function read_tag(source, at, tokens, close)
  local open = {}
  while true do
    at = text.skip_spaces(source, at)
    local after = #open == 0 and tag_end(source, at, close)
    if after then
      add(tokens, close, close, at)
      return after
    end
    if at > #source then budget.fail("the template ends inside a tag", at) end
    at = read_inner(source, at, tokens, open)
  end
end

-- Text before a tag, as its sign and the rule for tags that begin a line leave it.
local function before_tag(piece, sign, is_variable, line_starting)
  if sign == "-" then return text.rstrip(piece) end
  if sign == "+" or is_variable then return piece end
  local line = piece:match "()[^\n]*$"
  if (line > 1 or line_starting) and text.skip_spaces(piece, line) > #piece then return piece:sub(1, line - 1) end
  return piece
end

-- A whole {% raw %} block whose tag begins at `at`; the position after it, or nil.
local function read_raw(source, at, tokens)
  local keyword = source:match("^{%%[-+]?()", at)
  keyword = text.skip_spaces(source, keyword)
  if not source:find("^raw[%s%-%%]", keyword) then return nil end
  local close = text.skip_spaces(source, keyword + 3)
  local from
  if source:sub(close, close + 2) == "-%}" then
    from = text.skip_spaces(source, close + 3)
  elseif source:sub(close, close + 1) == "%}" then
    from = close + 2
  else
    return nil
  end
  local search = from
  while true do
    local start, inner = source:match("(){%%[-+]?()", search)
    if not start then budget.fail("{% raw %} is not closed by {% endraw %}", at) end
    local word = text.skip_spaces(source, inner)
    local after = source:find("^endraw", word) and tag_end(source, text.skip_spaces(source, word + 6), "%}")
    if after then
      local sign = source:sub(start + 2, start + 2)
      add(tokens, "data", before_tag(source:sub(from, start - 1), sign, false, source:sub(from - 1, from - 1) == "\n"), from)
      return after
    end
    search = inner
  end
end

local function read_comment(source, at)
  local body = at + 2 + (source:find("^[-+]", at + 2) and 1 or 0)
  local stop = source:find("#}", body, true)
  if not stop then budget.fail("a comment is not closed", at) end
  local sign = stop > body and source:sub(stop - 1, stop - 1) or ""
  if sign == "-" then return text.skip_spaces(source, stop + 2) end
  if sign ~= "+" and source:sub(stop + 2, stop + 2) == "\n" then return stop + 3 end
  return stop + 2
end

--- The source as positions in errors count it: one kind of newline, and none at the end.
---@param source string
---@return string
function lexer.normalize(source) return (source:gsub("\r\n?", "\n"):gsub("\n$", "")) end

--- Splits a normalized template.
---@param source string
---@return table[] tokens { type=, value=, at= }; the last one has the type "end"
function lexer.tokenize(source)
  local tokens, at, line_starting = {}, 1, true
  while at <= #source do
    local start = source:find("{[%%{#]", at)
    if not start then break end
    local opening, sign = source:sub(start, start + 1), source:match("^[-+]", start + 2) or ""
    local piece = before_tag(source:sub(at, start - 1), sign, opening == "{{", line_starting)
    if piece ~= "" then add(tokens, "data", piece, at) end
    if opening == "{#" then
      at = read_comment(source, start)
    else
      local after = opening == "{%" and read_raw(source, start, tokens)
      if not after then
        add(tokens, opening, opening, start)
        after = read_tag(source, start + 2 + #sign, tokens, opening == "{%" and "%}" or "}}")
      end
      at = after
    end
    line_starting = source:sub(at - 1, at - 1) == "\n"
  end
  if at <= #source then add(tokens, "data", source:sub(at), at) end
  add(tokens, "end", "", #source + 1)
  return tokens
end

return lexer
