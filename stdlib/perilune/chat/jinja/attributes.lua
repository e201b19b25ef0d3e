-- Parts of values: value.name, value[index], slices; and + as Python has it. Nothing reaches outside
-- the values that were passed in.
local budget = require "perilune.chat.jinja.budget"
local text = require "perilune.chat.jinja.text"
local values = require "perilune.chat.jinja.values"
local methods = require "perilune.chat.jinja.methods"
local bind = require "perilune.chat.jinja.bind"

local attributes = {}

local fail, class = budget.fail, values.class

local function missing(value, name)
  local kind = values.type_name(value)
  if type(name) == "string" then return values.undefined(("'%s object' has no attribute '%s'"):format(kind, name)) end
  return values.undefined(("%s object has no element %s"):format(kind, require("perilune.chat.jinja.printing").repr(name)))
end

-- Names that reach into the published interpreter: undefined there, and an error when used.
local function unsafe(value, name)
  if not name:find "^__" then return nil end
  return values.undefined(("access to attribute '%s' of '%s' object is unsafe."):format(name, values.type_name(value)))
end

-- What a name means on a value itself, keys aside.
local function member(value, name)
  local method = methods.find(value, name)
  if method then
    return values.func(name, function(arguments, named) return method(value, arguments, named, attributes.item) end)
  end
  local of = class(value)
  if of == values.Namespace then return values.lookup(value, name) end
  if of == values.Sequence and value.grouper ~= nil and (name == "grouper" or name == "list") then return value[name] end
  if of == values.Sequence and value.kind == "range" and (name == "start" or name == "stop" or name == "step") then return value[name] end
  if of == values.Function and value.members then return value.members(name) end
  return nil
end

local element
function element(value, index)
  local of = class(value)
  if of == values.Markup then
    local found = element(value.value, index)
    return found ~= nil and values.markup(found) or nil
  end
  if of == values.Dict then return values.lookup(value, index) end
  if type(index) == "boolean" then index = index and 1 or 0 end
  if type(index) ~= "number" then return nil end
  if of == "string" then
    local n = text.length(value)
    if index < 0 then index = index + n end
    return index >= 0 and index < n and text.sub(value, index, index + 1) or nil
  end
  if of ~= values.Sequence or value.kind ~= "list" and value.kind ~= "tuple" and value.kind ~= "range" then return nil end
  if index < 0 then index = index + #value.items end
  return value.items[index + 1]
end

--- value.name: a method or attribute first, then a key.
---@param value any
---@param name string
---@return any
function attributes.attribute(value, name)
  values.defined(value)
  local found = unsafe(value, name) or member(value, name)
  if found == nil then found = element(value, name) end
  if found == nil then return missing(value, name) end
  return found
end

--- value[index]: a key or place first, then an attribute.
---@param value any
---@param index any
---@return any
function attributes.item(value, index)
  values.defined(value)
  if class(index) == values.Undefined then return missing(value, "") end
  local unhashable = class(index) == values.Dict or class(index) == values.Sequence and index.kind ~= "tuple"
  if class(value) == values.Dict and unhashable then return missing(value, index) end
  local found = element(value, index)
  if found == nil and type(index) == "string" then
    found = unsafe(value, index) or member(value, index)
  end
  if found == nil then return missing(value, index) end
  return found
end

--- value[first:last:step].
---@param value any
---@param first integer|nil
---@param last integer|nil
---@param step integer|nil
---@return any
function attributes.slice(value, first, last, step)
  if class(value) == values.Markup then return values.markup(attributes.slice(value.value, first, last, step)) end
  local of = class(values.defined(value))
  local is_text = of == "string"
  if not is_text and not (of == values.Sequence and (value.kind == "list" or value.kind == "tuple" or value.kind == "range")) then
    fail(("'%s' object is not subscriptable by a slice"):format(values.type_name(value)))
  end
  local items = is_text and text.chars(value) or value.items
  local from, to, by = bind.slice(#items, bind.integer("slice", first), bind.integer("slice", last), bind.integer("slice", step))
  if is_text and by == 1 then return table.concat(items, "", from + 1, math.max(from, to)) end
  local out = {}
  for i = from, to + (by > 0 and -1 or 1), by do out[#out + 1] = items[i + 1] end
  if is_text then return table.concat(out) end
  if value.kind == "range" then
    local start, stride = value.start, value.step
    return values.range(out, start + from * stride, start + to * stride, stride * by)
  end
  return values.sequence(out, value.kind == "tuple" and "tuple" or "list")
end

--- Reads the attribute that a filter's argument names: "a.b", "a.0", 0; the value itself for none.
---@param path any
---@param default any what a missing one becomes
---@return fun(item: any): any
function attributes.getter(path, default)
  if path == nil or path == values.none then return function(item) return item end end
  local parts = type(path) == "string" and text.split(path, ".") or { path }
  for i, part in ipairs(parts) do
    if type(part) == "string" and part:find "^%d+$" then parts[i] = tonumber(part) end
  end
  return function(item)
    for _, part in ipairs(parts) do
      item = attributes.item(item, part)
      if default ~= nil and default ~= values.none and class(item) == values.Undefined then item = default end
    end
    return item
  end
end

-- The name of an operand's type, for messages; an undefined one raises its own.
local function kinds(symbol, a, b)
  return ("unsupported operand type(s) for %s: '%s' and '%s'"):format(symbol, values.type_name(values.defined(a)), values.type_name(values.defined(b)))
end
attributes.kinds = kinds

--- Numbers of two operands, and whether the result is a float; raises for anything else.
---@param symbol string
---@param a any
---@param b any
---@return number
---@return number
---@return boolean
function attributes.numbers(symbol, a, b)
  local x, y = values.number(a), values.number(b)
  if not x or not y then fail(kinds(symbol, a, b)) end
  return x, y, class(a) == values.Float or class(b) == values.Float
end

-- A marked text and a text, whichever comes first.
local function add_marked(a, b)
  local function part(value)
    if class(value) == values.Markup then return value.value end
    if type(value) ~= "string" then fail(kinds("+", a, b)) end
    return values.escaped(value)
  end
  local x, y = part(a), part(b)
  budget.charge_bytes(#x + #y)
  return values.markup(x .. y)
end

--- Python's +.
---@param a any
---@param b any
---@return any
function attributes.add(a, b)
  if class(a) == values.Markup or class(b) == values.Markup then return add_marked(a, b) end
  if type(a) == "string" and type(b) == "string" then
    budget.charge_bytes(#a + #b)
    return a .. b
  end
  if class(a) == values.Sequence and class(b) == values.Sequence and a.kind == b.kind and (a.kind == "list" or a.kind == "tuple") then
    local out = {}
    for i, item in ipairs(a.items) do out[i] = item end
    for _, item in ipairs(b.items) do out[#out + 1] = item end
    return values.sequence(out, a.kind)
  end
  if type(a) == "string" then
    fail(('can only concatenate str (not "%s") to str'):format(values.type_name(values.defined(b))))
  end
  local x, y, is_float = attributes.numbers("+", a, b)
  return is_float and values.float(x + y) or values.integer(x + y)
end

return attributes
