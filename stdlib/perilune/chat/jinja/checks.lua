-- Tests: what stands behind `is`.
local budget = require "perilune.chat.jinja.budget"
local text = require "perilune.chat.jinja.text"
local values = require "perilune.chat.jinja.values"
local methods = require "perilune.chat.jinja.methods"
local operators = require "perilune.chat.jinja.operators"
local printing = require "perilune.chat.jinja.printing"
local known_filters = require "perilune.chat.jinja.known_filters"

local checks = {}

local fail, class, none = budget.fail, values.class, values.none

local function whole(value, name)
  local number = values.number(value)
  if not number then fail(("test %s: expected a number, got %s"):format(name, values.type_name(values.defined(value)))) end
  return number
end

local function is_number(value)
  local of = class(value)
  return of == "number" or of == "boolean" or of == values.Float or of == values.Big
end

function checks.defined(value) return class(value) ~= values.Undefined end
function checks.undefined(value) return class(value) == values.Undefined end
function checks.none(value) return value == none end
function checks.boolean(value) return type(value) == "boolean" end
checks["true"] = function(value) return value == true end
checks["false"] = function(value) return value == false end
function checks.integer(value) return type(value) == "number" or class(value) == values.Big end
function checks.float(value) return class(value) == values.Float end
checks.number = is_number
function checks.string(value) return type(values.plain(value)) == "string" end
function checks.mapping(value) return class(value) == values.Dict end
function checks.iterable(value)
  local of = class(values.plain(value))
  return of == "string" or of == values.Dict or of == values.Sequence or of == values.Undefined
end
function checks.sequence(value)
  local of = class(values.plain(value))
  return of == "string" or of == values.Dict or of == values.Undefined
    or of == values.Sequence and (value.kind == "list" or value.kind == "tuple" or value.kind == "range")
end
function checks.callable(value) return class(value) == values.Function or class(value) == values.Undefined end
function checks.odd(value) return whole(value, "odd") % 2 == 1 end
function checks.even(value) return whole(value, "even") % 2 == 0 end
function checks.divisibleby(value, other)
  local by = whole(other, "divisibleby")
  if by == 0 then fail "integer modulo by zero" end
  return whole(value, "divisibleby") % by == 0
end
function checks.lower(value) return methods.str.islower(printing.str(value), {}, {}) end
function checks.upper(value) return methods.str.isupper(printing.str(value), {}, {}) end
function checks.sameas(value, other)
  return rawequal(value, other) or class(value) == values.Undefined and class(other) == values.Undefined and value.why == other.why
end
checks["in"] = function(value, container) return values.contains(value, container) end
function checks.escaped(value) return class(value) == values.Markup end

for name, symbol in pairs { eq = "==", ne = "!=", lt = "<", gt = ">", le = "<=", ge = ">=" } do checks[name] = operators[symbol] end
for name, other in pairs { equalto = "eq", ["=="] = "eq", ["!="] = "ne", lessthan = "lt", ["<"] = "lt", greaterthan = "gt", [">"] = "gt",
  ["<="] = "le", [">="] = "ge" } do
  checks[name] = checks[other]
end

-- How many arguments each takes beside the value.
local one_more = { divisibleby = true, sameas = true, ["in"] = true, eq = true, ne = true, lt = true, gt = true, le = true, ge = true,
  equalto = true, ["=="] = true, ["!="] = true, lessthan = true, ["<"] = true, greaterthan = true, [">"] = true, ["<="] = true, [">="] = true }

local run = {}

--- Applies a test.
---@param name string
---@param value any
---@param arguments any[]
---@return boolean
function run.apply(name, value, arguments)
  local check = checks[name]
  if name == "filter" or name == "test" then
    if name == "test" then return checks[value] ~= nil end
    return known_filters[value] ~= nil
  end
  if not check then fail(("no test named '%s'"):format(name)) end
  local wanted = one_more[name] and 1 or 0
  if #arguments ~= wanted then fail(("test %s takes %d arguments, got %d"):format(name, wanted, #arguments)) end
  return check(value, arguments[1])
end

--- Whether text has both cases; kept here for filters that compare without case.
---@param value any
---@return any
function run.without_case(value) return type(value) == "string" and text.lower(value) or value end

return run
