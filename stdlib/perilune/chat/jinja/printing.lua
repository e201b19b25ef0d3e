-- Values as text: as Python prints them (str, repr), and formatted with % and with {}.
local budget = require "perilune.chat.jinja.budget"
local text = require "perilune.chat.jinja.text"
local values = require "perilune.chat.jinja.values"

local printing = {}

local fail, class, none = budget.fail, values.class, values.none

--- A number with so many digits after the point; a half goes to the even neighbour.
---@param number number
---@param digits integer
---@return string
function printing.fixed(number, digits)
  local shown = ("%%.%df"):format(digits):format(number)
  local longer = ("%%.%df"):format(digits + 1):format(number)
  if longer:sub(-1) ~= "5" or tonumber(longer) ~= number or math.abs(number) >= 2 ^ 52 then return shown end
  local kept = longer:sub(1, -2):gsub("%.$", "")
  if tonumber(kept:sub(-1)) % 2 == 0 then return kept end
  return shown
end

-- The fewest digits that read back as the same number, as digits and exponent.
local function shortest(number)
  for precision = 14, 16 do
    local shown = ("%." .. precision .. "e"):format(number)
    if precision == 16 then   -- halfway between two: the even one, which the formatter does not promise
      local cut, beyond = ("%.24e"):format(number):match "^(-?%d%.%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d)(%d+)e"
      if beyond and beyond:find "^50*$" and cut:find "[02468]$" then shown = cut .. shown:match "e.*$" end
    end
    if tonumber(shown) == number or precision == 16 then
      local sign, first, rest, exponent = shown:match "^(-?)(%d)%.(%d+)e([-+]%d+)$"
      return sign, ((first .. rest):gsub("0+$", "")), tonumber(exponent)
    end
  end
end

--- A float as Python's repr writes it.
---@param number number
---@return string
function printing.float(number)
  if number ~= number then return "nan" end
  if number == math.huge then return "inf" end
  if number == -math.huge then return "-inf" end
  if number == 0 then return 1 / number < 0 and "-0.0" or "0.0" end
  local sign, digits, exponent = shortest(number)
  if exponent < -4 or exponent >= 16 then
    local fraction = #digits > 1 and "." .. digits:sub(2) or ""
    return ("%s%s%se%s%02d"):format(sign, digits:sub(1, 1), fraction, exponent < 0 and "-" or "+", math.abs(exponent))
  end
  if exponent < 0 then return sign .. "0." .. ("0"):rep(-exponent - 1) .. digits end
  if #digits <= exponent + 1 then return sign .. digits .. ("0"):rep(exponent + 1 - #digits) .. ".0" end
  return sign .. digits:sub(1, exponent + 1) .. "." .. digits:sub(exponent + 2)
end

--- A whole number's digits.
---@param number integer
---@return string
function printing.integer(number) return ("%.0f"):format(number) end
local integer = printing.integer

local quoted = { ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function repr_text(s)
  budget.charge_bytes(#s)
  local quote = s:find("'", 1, true) and not s:find('"', 1, true) and '"' or "'"
  local out = s:gsub("[%c\\\127]", function(c) return quoted[c] or ("\\x%02x"):format(c:byte()) end)
  if quote == "'" then out = out:gsub("'", "\\'") end
  if out:find "[\128-\255]" then
    out = out:gsub("[\194-\244][\128-\191]+", function(c)
      local code = text.code(c)
      if text.all(c, "printable") then return c end
      return (code < 0x100 and "\\x%02x" or code < 0x10000 and "\\u%04x" or "\\U%08x"):format(code)
    end)
  end
  return quote .. out .. quote
end

local brackets = { list = { "[", "]" }, tuple = { "(", ")" }, dict_keys = { "dict_keys([", "])" }, dict_values = { "dict_values([", "])" },
  dict_items = { "dict_items([", "])" } }

local function repr_bytes(items)
  local out, single = {}, false
  for i, byte in ipairs(items) do
    local c = string.char(byte)
    single = single or c == "'"
    out[i] = quoted[c] or (byte < 32 or byte > 126) and ("\\x%02x"):format(byte) or c
  end
  local shown = table.concat(out)
  local quote = single and not shown:find('"', 1, true) and '"' or "'"
  return "b" .. quote .. (quote == "'" and shown:gsub("'", "\\'") or shown) .. quote
end

local function repr_sequence(value, depth)
  if value.kind == "generator" then return "<generator object>" end
  if value.kind == "bytes" then return repr_bytes(value.items) end
  local items = value.items
  if value.kind == "range" then
    return ("range(%d, %d%s)"):format(value.start, value.stop, value.step ~= 1 and ", " .. value.step or "")
  end
  local pair, parts = brackets[value.kind], {}
  local size = 0
  for i, item in ipairs(items) do
    parts[i] = printing.repr(item, depth)
    size = size + #parts[i]
    budget.charge_bytes(size / 16)
  end
  budget.charge_bytes(size)
  return pair[1] .. table.concat(parts, ", ") .. (value.kind == "tuple" and #items == 1 and "," or "") .. pair[2]
end

local function repr_pairs(keys, map, depth)
  local parts, size = {}, 0
  for i, key in ipairs(keys) do
    parts[i] = printing.repr(key, depth) .. ": " .. printing.repr(map[values.hash(key)], depth)
    size = size + #parts[i]
  end
  budget.charge_bytes(size)
  return "{" .. table.concat(parts, ", ") .. "}"
end

--- Python's repr.
---@param value any
---@param depth integer|nil
---@return string
function printing.repr(value, depth)
  local of = class(value)
  budget.charge(1)
  if of == "string" then return repr_text(value) end
  if of == "number" then return integer(value) end
  if of == "boolean" then return value and "True" or "False" end
  if value == none then return "None" end
  if of == values.Float then return printing.float(value.value) end
  if of == values.Big then return value.digits end
  if of == values.Markup then return "Markup(" .. repr_text(value.value) .. ")" end
  depth = (depth or 0) + 1
  budget.check_depth(depth)
  if of == values.Sequence then return repr_sequence(value, depth) end
  if of == values.Dict then return repr_pairs(value.keys, value.map, depth) end
  if of == values.Undefined then return "Undefined" end
  if of == values.Namespace then return "<Namespace " .. repr_pairs(value.keys, value.map, depth) .. ">" end
  if of == values.Function then return "<function " .. value.name .. ">" end
  return "<object>"
end

--- Python's str: what {{ }} prints.
---@param value any
---@return string
function printing.str(value)
  value = values.plain(value)
  local of = class(value)
  if of == "string" then return value end
  if of == values.Undefined then return "" end
  return printing.repr(value)
end

-- ---------------------------------------------------------------- formats

local function pad(s, width, left, fill)
  local missing = width - text.length(s)
  if missing <= 0 then return s end
  budget.charge_bytes(width)
  if left == "^" then
    local before = math.floor(missing / 2)
    return fill:rep(before) .. s .. fill:rep(missing - before)
  end
  return left == "<" and s .. fill:rep(missing) or fill:rep(missing) .. s
end
printing.pad = pad

-- A width or precision that a format names.
local function small(number, what, most)
  if number > most then fail(("%s beyond %d"):format(what, most)) end
  return number
end
local max_width, max_precision = 4096, 90

local function numeric(value, conversion)
  local number = values.number(value)
  if not number then fail(("format %s: a number is required, not %s"):format(conversion, values.type_name(values.defined(value)))) end
  return number
end

-- One conversion of a number; `sign` is "+", " " or "".
local function format_number(value, conversion, precision, sign, alternative)
  local number = numeric(value, conversion)
  local shown
  if conversion == "d" or conversion == "i" or conversion == "u" then
    if class(value) == values.Float then number = number < 0 and math.ceil(number) or math.floor(number) end
    shown = integer(number)
    if precision then shown = shown:gsub("%d+", function(digits) return ("0"):rep(precision - #digits) .. digits end) end
  elseif conversion == "x" or conversion == "X" or conversion == "o" or conversion == "b" then
    if class(value) == values.Float then fail(("%%%s format: an integer is required, not float"):format(conversion)) end
    if conversion == "b" then
      local digits, rest = {}, math.abs(number)
      repeat
        digits[#digits + 1] = tostring(rest % 2)
        rest = math.floor(rest / 2)
      until rest == 0
      shown = table.concat(digits):reverse()
    else
      shown = ("%" .. conversion):format(math.abs(number))
    end
    shown = (number < 0 and "-" or "") .. (alternative and "0" .. conversion or "") .. shown
  else
    shown = conversion == "f" and printing.fixed(number, precision or 6) or ("%." .. (precision or 6) .. conversion):format(number)
    if number ~= number or math.abs(number) == math.huge then shown = printing.float(number) end
  end
  if sign ~= "" and shown:sub(1, 1) ~= "-" then shown = sign .. shown end
  return shown
end

local function zero_padded(shown, width)
  local sign, digits = shown:match "^([-+ ]?)(.*)$"
  return sign .. pad(digits, width - #sign, ">", "0")
end

-- % with a tuple, a dictionary or one value.
local function percent_source(argument)
  local list = class(argument) == values.Sequence and argument.kind == "tuple" and argument.items or { argument }
  local used = 0
  return function()
    used = used + 1
    if used > #list then fail "not enough arguments for format string" end
    return list[used]
  end, function()
    local is_mapping = class(argument) == values.Dict or class(argument) == values.Sequence and list[1] == argument
    if used < #list and not is_mapping then fail "not all arguments converted during string formatting" end
  end
end

local function percent_one(value, flags, width, precision, conversion)
  local shown
  if conversion == "s" or conversion == "r" or conversion == "a" then
    shown = conversion == "s" and printing.str(value) or printing.repr(value)
    if precision then shown = text.sub(shown, 0, math.min(precision, text.length(shown))) end
  elseif conversion == "c" then
    shown = type(value) == "string" and value or text.character(numeric(value, "%c"))
  elseif conversion:find "^[diuoxXeEfFgG]$" then
    local sign = flags:find("+", 1, true) and "+" or flags:find(" ", 1, true) and " " or ""
    shown = format_number(value, conversion == "F" and "f" or conversion, precision, sign, flags:find("#", 1, true))
    if flags:find("0", 1, true) and not flags:find("-", 1, true) then return zero_padded(shown, width) end
  else
    fail(("unsupported format character '%s'"):format(conversion))
  end
  return pad(shown, width, flags:find("-", 1, true) and "<" or ">", " ")
end

--- Python's `format % argument`.
---@param format string
---@param argument any
---@return string
function printing.percent(format, argument)
  argument = values.plain(argument)
  local take, finish = percent_source(argument)
  local out, at, by_name = {}, 1, false
  while true do
    local start = format:find("%", at, true)
    if not start then break end
    out[#out + 1] = format:sub(at, start - 1)
    local name, after = format:match("^%%%(([^)]*)%)()", start)
    local flags, width, dot, precision, conversion, stop = format:match("^([-+ #0]*)([%d*]*)(%.?)([%d*]*)[hlL]?(.)()", after or start + 1)
    if not conversion then fail "incomplete format" end
    if width == "*" then width = take() end
    if precision == "*" then precision = take() end
    if conversion == "%" then
      out[#out + 1] = "%"
    else
      local value
      if name then
        by_name = true
        if class(argument) ~= values.Dict then fail "format requires a mapping" end
        value = values.lookup(argument, name)
        if value == nil then fail(("no key '%s' for the format"):format(name)) end
      else
        value = take()
      end
      out[#out + 1] = percent_one(value, flags, small(tonumber(width) or 0, "a width", max_width),
        dot == "." and small(tonumber(precision) or 0, "a precision", max_precision) or nil, conversion)
    end
    at = stop
  end
  if not by_name then finish() end
  out[#out + 1] = format:sub(at)
  return table.concat(out)
end

--- One replacement field's value by its format specification: "{:>8}", "{:.2f}", "{:05d}".
---@param value any
---@param spec string
---@return string
function printing.field(value, spec)
  value = values.plain(value)
  if spec == "" then return printing.str(value) end
  local fill, align, rest = spec:match "^(.[\128-\191]*)([<>=^])(.*)$"
  if not fill then
    fill, align, rest = " ", spec:match "^([<>=^]?)(.*)$"
  end
  local sign, zero, width, comma, dot, precision, conversion = rest:match "^([-+ ]?)#?(0?)(%d*)([,_]?)(%.?)(%d*)([%a%%]?)$"
  if not sign then fail(("invalid format specifier '%s'"):format(spec)) end
  width, precision = small(tonumber(width) or 0, "a width", max_width), dot == "." and small(tonumber(precision) or 0, "a precision", max_precision) or nil
  local shown
  local is_number = values.number(value) ~= nil and type(value) ~= "boolean"
  if not is_number or conversion == "s" then
    if conversion ~= "" and conversion ~= "s" then fail(("unknown format code '%s' for an object of type '%s'"):format(conversion, values.type_name(value))) end
    shown = printing.str(value)
    if precision then shown = text.sub(shown, 0, math.min(precision, text.length(shown))) end
    return pad(shown, width, align ~= "" and align or "<", fill)
  end
  if conversion == "%" then
    shown = format_number(values.float(values.number(value) * 100), "f", precision, sign == "-" and "" or sign) .. "%"
  elseif conversion == "" and class(value) == values.Float and not precision then
    shown = printing.float(value.value)
  else
    local kind = conversion ~= "" and conversion or class(value) == values.Float and "g" or "d"
    shown = format_number(value, kind == "F" and "f" or kind, precision, sign == "-" and "" or sign)
  end
  if comma ~= "" then
    local head, digits, tail = shown:match "^([-+ ]?)(%d+)(.*)$"
    if digits then shown = head .. digits:reverse():gsub("(%d%d%d)", "%1" .. comma):reverse():gsub("^" .. comma, "") .. tail end
  end
  if zero == "0" and align == "" or align == "=" then return zero_padded(shown, width) end
  return pad(shown, width, align ~= "" and align or ">", fill)
end

return printing
