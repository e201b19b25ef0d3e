-- Arguments of filters, tests, methods and macros, bound to names.
local budget = require "perilune.chat.jinja.budget"
local values = require "perilune.chat.jinja.values"

local bind = {}

local fail = budget.fail

--- Positional and named arguments by name.
---@param callable string for messages
---@param names string[] in order
---@param required integer how many of them must be given
---@param arguments any[]
---@param named table<string, any>|nil
---@return table<string, any>
function bind.names(callable, names, required, arguments, named)
  if #arguments > #names then fail(("%s takes at most %d arguments, got %d"):format(callable, #names, #arguments)) end
  local out = {}
  for i, value in ipairs(arguments) do out[names[i]] = value end
  for name, value in pairs(named or {}) do
    local known = false
    for _, one in ipairs(names) do known = known or one == name end
    if not known then fail(("%s has no argument named '%s'"):format(callable, name)) end
    if out[name] ~= nil then fail(("%s got two values for '%s'"):format(callable, name)) end
    out[name] = value
  end
  for i = 1, required do
    if out[names[i]] == nil then fail(("%s needs the argument '%s'"):format(callable, names[i])) end
  end
  return out
end

--- A table of filters, name → { argument names, function(value, arguments by name) }, and what adds to
--- it: names with spaces between, the names of arguments, and the function.
---@return table<string, table> known
---@return fun(names: string, argument_names: string[], fn: fun(value: any, arguments: table): any) define
function bind.filters()
  local known = {}
  return known, function(names, argument_names, fn)
    for name in names:gmatch "%S+" do known[name] = { argument_names, fn } end
  end
end

--- A text argument; nil for none or when it is not given.
---@param callable string
---@param value any
---@return string|nil
function bind.text(callable, value)
  value = values.plain(value)
  if value == nil or value == values.none then return nil end
  if type(value) ~= "string" then fail(("%s: expected a str, got %s"):format(callable, values.type_name(values.defined(value)))) end
  return value
end

--- A whole number argument; nil for none or when it is not given.
---@param callable string
---@param value any
---@return integer|nil
function bind.integer(callable, value)
  if value == nil or value == values.none then return nil end
  if type(value) == "boolean" then return value and 1 or 0 end
  if type(value) ~= "number" then fail(("%s: expected an int, got %s"):format(callable, values.type_name(values.defined(value)))) end
  return value
end

--- Whether an argument is given and true.
---@param value any
---@return boolean
function bind.flag(value) return value ~= nil and values.truth(value) end

--- Where first:last:step of a sequence of n begins, ends and steps, from 0 and half open.
---@param n integer
---@param first integer|nil
---@param last integer|nil
---@param step integer|nil
---@return integer first
---@return integer last
---@return integer step
function bind.slice(n, first, last, step)
  step = step or 1
  if step == 0 then fail "slice step cannot be zero" end
  local low, high = step > 0 and 0 or -1, step > 0 and n or n - 1
  local function place(value, fallback)
    if not value then return fallback end
    if value < 0 then value = value + n end
    return math.max(low, math.min(high, value))
  end
  return place(first, step > 0 and low or high), place(last, step > 0 and high or low), step
end

return bind
