-- Filters: what stands behind "|". A filter is a function of the value and its bound arguments.
local budget = require "perilune.chat.jinja.budget"
local values = require "perilune.chat.jinja.values"
local printing = require "perilune.chat.jinja.printing"
local bind = require "perilune.chat.jinja.bind"
local checks = require "perilune.chat.jinja.checks"
local attributes = require "perilune.chat.jinja.attributes"
local known = require "perilune.chat.jinja.known_filters"

local filters = {}

local fail, str, class = budget.fail, printing.str, values.class

-- Filters that see whether a text is marked, and filters after which a marked text still is.
local takes_marked = { default = true, d = true, escape = true, e = true, safe = true, string = true }
local stays_marked = { lower = true, upper = true, capitalize = true, title = true, trim = true, center = true, indent = true, truncate = true }

-- name → { argument names, function(value, arguments by name) }; without names the function gets the
-- arguments as they stand.
for _, module in ipairs { "scalar_filters", "text_filters", "sequence_filters" } do
  for name, filter in pairs(require("perilune.chat.jinja." .. module)) do known[name] = filter end
end

local function generator(items) return values.sequence(items, "generator") end

-- ---------------------------------------------------------------- filters of filters

-- These filters take anything false for an empty sequence.
local function items_or_none(value) return values.truth(value) and values.items(value) or {} end

-- Keeps what passes (or fails) a test, of the item or of its attribute.
local function selecting(name, wanted, by_attribute)
  known[name] = { nil, function(value, arguments)
    local from = 1
    local get = function(item) return item end
    if by_attribute then
      if arguments[1] == nil then fail(name .. " needs the name of an attribute") end
      get, from = attributes.getter(arguments[1]), 2
    end
    local test, rest, out = arguments[from], {}, {}
    for i = from + 1, #arguments do rest[#rest + 1] = arguments[i] end
    for _, item in ipairs(items_or_none(value)) do
      budget.charge(1)
      local passes
      if test == nil then passes = values.truth(get(item)) else passes = checks.apply(str(test), get(item), rest) end
      if passes == wanted then out[#out + 1] = item end
    end
    return generator(out)
  end }
end
selecting("select", true, false)
selecting("reject", false, false)
selecting("selectattr", true, true)
selecting("rejectattr", false, true)

known.map = { nil, function(value, arguments, named)
  local out = {}
  local each
  if #arguments == 0 and named.attribute ~= nil then
    for key in pairs(named) do
      if key ~= "attribute" and key ~= "default" then fail(("map has no argument named '%s'"):format(key)) end
    end
    each = attributes.getter(named.attribute, named.default)
  else
    if arguments[1] == nil then fail "map needs the name of a filter, or attribute=" end
    local rest = {}
    for i = 2, #arguments do rest[i - 1] = arguments[i] end
    each = function(item) return filters.apply(str(arguments[1]), item, rest, named) end
  end
  for i, item in ipairs(items_or_none(value)) do
    budget.charge(1)
    out[i] = each(item)
  end
  return generator(out)
end }

known.format = { nil, function(value, arguments, named, order)
  if #arguments > 0 and #order > 0 then fail "format takes positional or named arguments, not both" end
  if #order == 0 then return printing.percent(str(value), values.sequence(arguments, "tuple")) end
  local dict = values.dict()
  for _, name in ipairs(order) do values.put(dict, name, named[name]) end
  return printing.percent(str(value), dict)
end }

-- Arguments that must be there.
local required = { replace = 2, batch = 1, slice = 1, groupby = 1, attr = 1 }

--- What a filter is, or nil.
---@param name string
---@return table|nil
function filters.get(name) return known[name] end

--- Applies a filter.
---@param name string
---@param value any
---@param arguments any[]
---@param named table<string, any>
---@param order string[]|nil the names in their order
---@return any
function filters.apply(name, value, arguments, named, order)
  local filter = known[name]
  if not filter then fail(("no filter named '%s'"):format(name)) end
  if class(value) == values.Markup and not takes_marked[name] then
    local out = filters.apply(name, value.value, arguments, named, order)
    return stays_marked[name] and type(out) == "string" and values.markup(out) or out
  end
  if not filter[1] then return filter[2](value, arguments, named, order or {}) end
  return filter[2](value, bind.names(name, filter[1], required[name] or 0, arguments, named))
end

return filters
