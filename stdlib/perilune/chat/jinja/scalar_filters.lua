-- Filters of texts and numbers.
local budget = require "perilune.chat.jinja.budget"
local text = require "perilune.chat.jinja.text"
local values = require "perilune.chat.jinja.values"
local printing = require "perilune.chat.jinja.printing"
local bind = require "perilune.chat.jinja.bind"
local json = require "perilune.chat.jinja.json"
local pretty = require "perilune.chat.jinja.pretty"
local attributes = require "perilune.chat.jinja.attributes"

local fail, class, none, str = budget.fail, values.class, values.none, printing.str

local known, define = bind.filters()

define("tojson", { "ensure_ascii", "indent", "separators", "sort_keys" }, function(value, a)
  local indent = a.indent
  if indent == none then indent = nil end
  if type(indent) == "boolean" then indent = indent and 1 or 0 end
  if type(indent) == "number" then indent = (" "):rep(math.max(0, math.min(indent, 4096))) end
  local options = { ascii = bind.flag(a.ensure_ascii), indent = bind.text("tojson", indent), sorted = bind.flag(a.sort_keys),
    comma = indent and "," or ", ", colon = ": " }
  if a.separators ~= nil and a.separators ~= none then
    local pair = values.items(a.separators)
    if #pair ~= 2 then fail "tojson: separators are two texts" end
    options.comma, options.colon = str(pair[1]), str(pair[2])
  end
  return json.write(value, options)
end)

define("pprint", {}, function(value) return pretty.format(value) end)

-- ---------------------------------------------------------------- numbers

define("int", { "default", "base" }, function(value, a)
  local of, default = class(value), a.default == nil and 0 or a.default
  if of == "number" then return value end
  if of == "boolean" then return value and 1 or 0 end
  if of == values.Float then
    local number = value.value
    if number ~= number or math.abs(number) == math.huge then return default end
    return values.integer(number < 0 and math.ceil(number) or math.floor(number))
  end
  if of ~= "string" then
    values.defined(value)
    return default
  end
  local digits = text.strip(value):gsub("(%d)_(%d)", "%1%2")
  local base = bind.integer("int", a.base) or 10
  local sign, rest = digits:match "^([-+]?)(.*)$"
  rest = base == 16 and rest:gsub("^0[xX]", "") or base == 8 and rest:gsub("^0[oO]", "") or base == 2 and rest:gsub("^0[bB]", "") or rest
  local number = base >= 2 and base <= 36 and rest:find "^%w+$" and tonumber(rest, base)
  if number then return values.integer(sign == "-" and -number or number) end
  if not digits:find "^[-+]?%.?%d[%d.]*[eE]?[-+]?%d*$" then return default end
  number = tonumber(digits)
  return number and values.integer(number < 0 and math.ceil(number) or math.floor(number)) or default
end)

define("float", { "default" }, function(value, a)
  local number = values.number(value)
  if not number and type(value) == "string" then
    local trimmed = text.strip(value):lower():gsub("(%d)_(%d)", "%1%2")
    number = trimmed:find "^[-+]?%.?%d[%d.]*e?[-+]?%d*$" and tonumber(trimmed)
      or trimmed:find "^%+?inf" and math.huge or trimmed:find "^%-inf" and -math.huge or trimmed:find "^[-+]?nan$" and 0 / 0
  end
  values.defined(value)
  if number then return values.float(number) end
  return a.default == nil and values.float(0) or a.default
end)

define("abs", {}, function(value)
  local number = values.number(value) or fail(("bad operand type for abs(): '%s'"):format(values.type_name(values.defined(value))))
  return class(value) == values.Float and values.float(math.abs(number)) or math.abs(number)
end)

local function rounded(number, digits) return tonumber(printing.fixed(number, digits)) end

define("round", { "precision", "method" }, function(value, a)
  local number = values.number(value) or fail(("round: expected a number, got %s"):format(values.type_name(values.defined(value))))
  local precision, method = bind.integer("round", a.precision) or 0, a.method or "common"
  if method == "common" then
    if class(value) ~= values.Float then return number end
    if precision >= 0 then return values.float(rounded(number, math.min(precision, 20))) end
    local unit = 10 ^ -precision
    return values.float(rounded(number / unit, 0) * unit)
  end
  local unit = 10 ^ precision
  if method == "ceil" then return values.float(math.ceil(number * unit) / unit) end
  if method == "floor" then return values.float(math.floor(number * unit) / unit) end
  return fail "round: the method is common, ceil or floor"
end)

define("sum", { "attribute", "start" }, function(value, a)
  local total = a.start == nil and 0 or a.start
  local get = attributes.getter(a.attribute)
  for _, item in ipairs(values.items(value)) do total = attributes.add(total, get(item)) end
  return total
end)

return known
