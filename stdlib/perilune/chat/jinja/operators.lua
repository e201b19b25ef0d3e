-- Operators of expressions, as Python has them: whole numbers and floats stay apart.
local budget = require "perilune.chat.jinja.budget"
local values = require "perilune.chat.jinja.values"
local printing = require "perilune.chat.jinja.printing"
local attributes = require "perilune.chat.jinja.attributes"

local operators = {}

local fail, class = budget.fail, values.class
local escaped_argument
local numbers = attributes.numbers

-- Python's remainder, which has the sign of y, and the quotient below it.
local function remainder(x, y)
  local rest = math.fmod(x, y)
  if rest == 0 then return y < 0 and -0.0 or 0.0 end
  return (rest < 0) ~= (y < 0) and rest + y or rest
end

local function quotient(x, y)
  local rest = math.fmod(x, y)
  local exact = (x - rest) / y
  if rest ~= 0 and (rest < 0) ~= (y < 0) then exact = exact - 1 end
  if exact == 0 then return 1 / (x / y) < 0 and -0.0 or 0.0 end
  local floor = math.floor(exact)
  return exact - floor > 0.5 and floor + 1 or floor
end

local function result(number, is_float) return is_float and values.float(number) or values.integer(number) end

operators["+"] = attributes.add

operators["-"] = function(a, b)
  local x, y, is_float = numbers("-", a, b)
  return result(x - y, is_float)
end

local function is_count(value) return type(value) == "number" or type(value) == "boolean" end

local function repeated(value, count)
  if type(value) == "string" then
    if count <= 0 then return "" end
    budget.charge_bytes(#value * count)
    return value:rep(count)
  end
  local out, n = {}, #value.items
  budget.charge(math.max(n * count, 0))
  for i = 0, n * count - 1 do out[i + 1] = value.items[i % n + 1] end
  return values.sequence(out, value.kind)
end

-- What % puts into a marked text, escaped.
function escaped_argument(value)
  if type(value) == "string" then return values.escaped(value) end
  if class(value) == values.Sequence and value.kind == "tuple" then
    local out = {}
    for i, item in ipairs(value.items) do out[i] = escaped_argument(item) end
    return values.sequence(out, "tuple")
  elseif class(value) == values.Dict then
    local out = values.dict()
    for _, key in ipairs(value.keys) do values.put(out, key, escaped_argument(values.lookup(value, key))) end
    return out
  end
  return value
end

local function repeats(value) return type(value) == "string" or class(value) == values.Sequence and (value.kind == "list" or value.kind == "tuple") end

operators["*"] = function(a, b)
  if class(a) == values.Markup and is_count(b) then return values.markup(repeated(a.value, values.number(b))) end
  if class(b) == values.Markup and is_count(a) then return values.markup(repeated(b.value, values.number(a))) end
  if repeats(a) and is_count(b) then return repeated(a, values.number(b)) end
  if repeats(b) and is_count(a) then return repeated(b, values.number(a)) end
  local x, y, is_float = numbers("*", a, b)
  return result(x * y, is_float)
end

operators["/"] = function(a, b)
  local x, y = numbers("/", a, b)
  if y == 0 then fail "division by zero" end
  return values.float(x / y)
end

operators["//"] = function(a, b)
  local x, y, is_float = numbers("//", a, b)
  if y == 0 then fail "integer division or modulo by zero" end
  return result(quotient(x, y), is_float)
end

operators["%"] = function(a, b)
  if type(a) == "string" then return printing.percent(a, values.defined(b)) end
  if class(a) == values.Markup then return values.markup(printing.percent(a.value, escaped_argument(values.defined(b)))) end
  local x, y, is_float = numbers("%", a, b)
  if y == 0 then fail "integer modulo by zero" end
  return result(remainder(x, y), is_float)
end

operators["**"] = function(a, b)
  local x, y, is_float = numbers("** or pow()", a, b)
  if x == 0 and y < 0 then fail "0.0 cannot be raised to a negative power" end
  return result(x ^ y, is_float or y < 0)
end

operators["=="] = function(a, b) return values.equal(a, b) end
operators["!="] = function(a, b) return not values.equal(a, b) end
operators["<"] = function(a, b) return values.less(a, b) end
operators[">"] = function(a, b) return values.less(b, a, ">") end

local function at_most(a, b, symbol)
  local x, y = values.number(a), values.number(b)
  if x and y then return x <= y end
  return not values.less(b, a, symbol)
end
operators["<="] = function(a, b) return at_most(a, b, "<=") end
operators[">="] = function(a, b) return at_most(b, a, ">=") end
operators["in"] = function(a, b) return values.contains(a, b) end
operators["not in"] = function(a, b) return not values.contains(a, b) end

--- -value.
---@param value any
---@return any
function operators.negative(value)
  local number = values.number(value)
  if not number then fail(("bad operand type for unary -: '%s'"):format(values.type_name(values.defined(value)))) end
  return class(value) == values.Float and values.float(-number) or 0 - number
end

--- +value.
---@param value any
---@return any
function operators.positive(value)
  local number = values.number(value)
  if not number then fail(("bad operand type for unary +: '%s'"):format(values.type_name(values.defined(value)))) end
  return class(value) == values.Float and value or number
end

return operators
