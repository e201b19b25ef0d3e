-- Values of a template and what Python makes of them: text, truth, order, equality.
--
-- true and false, texts and whole numbers are Lua's. The rest are tables with one of these
-- metatables: Float { value }, Big { digits, value }, Markup { value }, Sequence { items, n, kind }, Dict, Undefined, Namespace, Function.
local budget = require "perilune.chat.jinja.budget"
local text = require "perilune.chat.jinja.text"

local values = {}

local fail = budget.fail

values.none = setmetatable({}, { __name = "none" })
local none = values.none

local Float, Sequence, Dict, Undefined, Namespace, Function, Markup, Big = {}, {}, {}, {}, {}, {}, {}, {}
values.Float, values.Sequence, values.Dict, values.Undefined, values.Namespace, values.Function, values.Markup, values.Big =
  Float, Sequence, Dict, Undefined, Namespace, Function, Markup, Big

--- A floating point number.
---@param number number
---@return table
function values.float(number) return setmetatable({ value = number }, Float) end

--- A text that is marked as HTML: what is joined to it is escaped.
---@param s string
---@return table
function values.markup(s) return setmetatable({ value = s }, Markup) end

local html = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&#34;", ["'"] = "&#39;" }

--- A text as HTML shows it.
---@param s string
---@return string
function values.escaped(s)
  budget.charge_bytes(#s)
  return (s:gsub("[&<>\"']", html))
end

--- A marked text as a plain one; anything else as it is.
---@param value any
---@return any
function values.plain(value)
  if type(value) == "table" and getmetatable(value) == Markup then return value.value end
  return value
end

local plain = values.plain

--- A whole number that Lua holds exactly, or an error.
---@param number number
---@return number
function values.integer(number)
  if number ~= number or math.abs(number) > 2 ^ 53 then fail "a whole number beyond 2^53" end
  return number + 0
end

--- A whole number that Lua does not hold exactly: it is passed on and printed, not computed with.
---@param digits string
---@return table
function values.big(digits) return setmetatable({ digits = digits, value = tonumber(digits) }, Big) end

--- A list, or another sequence: "tuple", "range", "generator" (which is used up by reading it),
--- "dict_keys", "dict_values", "dict_items".
---@param items table[] without holes
---@param kind string|nil
---@return table
function values.sequence(items, kind)
  budget.charge(#items / 8 + 1)
  return setmetatable({ items = items, kind = kind or "list" }, Sequence)
end

--- range(start, stop, step) with its numbers.
---@param items integer[]
---@param start integer
---@param stop integer
---@param step integer
---@return table
function values.range(items, start, stop, step)
  local out = values.sequence(items, "range")
  out.start, out.stop, out.step = start, stop, step
  return out
end

--- A dictionary; values.put fills it.
---@return table
function values.dict() return setmetatable({ keys = {}, map = {} }, Dict) end

--- What a missing name or attribute gives. `why` is the error when more is asked of it.
---@param why string
---@return table
function values.undefined(why) return setmetatable({ why = why }, Undefined) end

--- Something that can be called with positional and named arguments.
---@param name string
---@param call fun(arguments: table[], named: table): any
---@return table
function values.func(name, call) return setmetatable({ name = name, call = call }, Function) end

--- The metatable of a value of ours, else Lua's type.
---@param value any
---@return any
local function class(value)
  local t = type(value)
  return t == "table" and getmetatable(value) or t
end
values.class = class

local names = { string = "str", number = "int", boolean = "bool", [Float] = "float", [Markup] = "Markup",
  [Big] = "int", [Dict] = "dict", [Undefined] = "Undefined",
  [Namespace] = "Namespace", [Function] = "function" }

--- The name of a value's type.
---@param value any
---@return string
function values.type_name(value)
  if value == none then return "NoneType" end
  local of = class(value)
  return of == Sequence and value.kind or names[of] or "object"
end

local type_name = values.type_name

--- Raises for anything done with an undefined value.
---@param value any
---@return any value
function values.defined(value)
  if class(value) == Undefined then fail(value.why) end
  return value
end

-- ---------------------------------------------------------------- dictionaries

-- Equal keys have equal hashes: 1, 1.0 and true are one key.
local function hash(key)
  key = plain(key)
  local of = class(key)
  if of == "string" then return key end
  if of == "number" then return key end
  if of == "boolean" then return key and 1 or 0 end
  if of == Float then return key.value == key.value and key.value or key end
  if of == Big then return "\0" .. key.digits end
  if of == Sequence and key.kind == "tuple" then
    local parts = { "\0tuple" }
    for i, item in ipairs(key.items) do
      local one = hash(item)
      parts[i + 1] = type(one) == "string" and #one .. ":" .. one or type(one) == "table" and tostring(one) or ("n%.17g"):format(one)
    end
    return table.concat(parts, ",")
  end
  if of == Sequence or of == Dict then fail(("unhashable type: '%s'"):format(type_name(key))) end
  return key
end
values.hash = hash

--- The value of a key, or nil.
---@param dict table
---@param key any
---@return any
function values.lookup(dict, key) return dict.map[hash(key)] end

--- Sets a key; the first setting decides its place.
---@param dict table
---@param key any
---@param value any
function values.put(dict, key, value)
  local at = hash(key)
  if dict.map[at] == nil then
    budget.charge(1)
    dict.keys[#dict.keys + 1] = key
  end
  dict.map[at] = value
end

-- ---------------------------------------------------------------- truth, length, members

--- Whether Python takes a value for true.
---@param value any
---@return boolean
function values.truth(value)
  value = plain(value)
  local of = class(value)
  if of == "boolean" then return value end
  if of == "string" then return value ~= "" end
  if of == "number" then return value ~= 0 end
  if value == none or of == Undefined then return false end
  if of == Float then return value.value ~= 0 end
  if of == Sequence then return value.kind == "generator" or #value.items > 0 end
  if of == Dict then return #value.keys > 0 end
  return true
end

--- len(): raises for what has none.
---@param value any
---@return integer
function values.length(value)
  value = plain(value)
  local of = class(value)
  if of == "string" then return text.length(value) end
  if of == Sequence and value.kind ~= "generator" then return #value.items end
  if of == Dict then return #value.keys end
  if of == Undefined then return 0 end
  return fail(("object of type '%s' has no len()"):format(type_name(value)))
end

--- What a loop over a value sees, as a Lua list that must not be changed.
---@param value any
---@return any[]
function values.items(value)
  value = plain(value)
  local of = class(value)
  if of == Sequence then
    local items = value.items
    if value.kind == "generator" then value.items = {} end
    budget.charge(#items / 8)
    return items
  end
  if of == "string" then return text.chars(value) end
  if of == Dict then return value.keys end
  if of == Undefined then return {} end
  return fail(("'%s' object is not iterable"):format(type_name(value)))
end

-- ---------------------------------------------------------------- equality and order

--- The number of an integer, float or boolean; nil for anything else.
---@param value any
---@return number|nil
function values.number(value)
  local of = class(value)
  if of == "number" then return value end
  if of == Float or of == Big then return value.value end
  if of == "boolean" then return value and 1 or 0 end
end

local number = values.number

local function group(kind) return (kind == "list" or kind == "tuple" or kind == "range") and kind or "other" end

--- Python's ==.
---@param a any
---@param b any
---@param depth integer|nil
---@return boolean
function values.equal(a, b, depth)
  local x, y = number(a), number(b)
  if class(a) == Big and class(b) == Big then return a.digits == b.digits end
  if x or y then return x == y end
  a, b = plain(a), plain(b)
  local of = class(a)
  if of == "string" or type(b) == "string" then return a == b end
  if of ~= class(b) then return false end
  if rawequal(a, b) then return true end
  depth = (depth or 0) + 1
  budget.check_depth(depth)
  if of == Sequence then
    if a.kind ~= b.kind or group(a.kind) == "other" or #a.items ~= #b.items then return false end
    for i, item in ipairs(a.items) do
      budget.charge(1)
      if not values.equal(item, b.items[i], depth) then return false end
    end
    return true
  elseif of == Dict then
    if #a.keys ~= #b.keys then return false end
    for at, value in pairs(a.map) do
      budget.charge(1)
      if b.map[at] == nil or not values.equal(value, b.map[at], depth) then return false end
    end
    return true
  end
  return of == Undefined
end

-- Characters compare by number, which is what bytes of UTF-8 do.
local function text_less(a, b)
  if a == b then return false end
  budget.charge(math.min(#a, #b) / 64)
  local at, n = 1, math.min(#a, #b)
  while at <= n and a:byte(at) == b:byte(at) do at = at + 1 end
  if at > n then return #a < #b end
  return a:byte(at) < b:byte(at)
end

--- Python's <; raises for kinds that have no order.
---@param a any
---@param b any
---@param symbol string|nil for the message
---@param depth integer|nil
---@return boolean
function values.less(a, b, symbol, depth)
  values.defined(a)
  values.defined(b)
  local x, y = number(a), number(b)
  if x and y then return x < y end
  a, b = plain(a), plain(b)
  if type(a) == "string" and type(b) == "string" then return text_less(a, b) end
  if class(a) == Sequence and class(b) == Sequence and a.kind == b.kind and (a.kind == "list" or a.kind == "tuple") then
    depth = (depth or 0) + 1
    budget.check_depth(depth)
    for i = 1, math.min(#a.items, #b.items) do
      budget.charge(1)
      if not values.equal(a.items[i], b.items[i]) then return values.less(a.items[i], b.items[i], symbol, depth) end
    end
    return #a.items < #b.items
  end
  return fail(("'%s' not supported between instances of '%s' and '%s'"):format(symbol or "<", type_name(a), type_name(b)))
end

--- A stable sorted copy.
---@param list any[]
---@param less fun(a: any, b: any): boolean
---@return any[]
function values.sorted(list, less)
  local n, from, to = #list, {}, {}
  for i = 1, n do from[i] = list[i] end
  budget.charge(n)
  local width = 1
  while width < n do
    for left = 1, n, 2 * width do
      local i, middle, stop = left, math.min(left + width, n + 1), math.min(left + 2 * width, n + 1)
      local j = middle
      for k = left, stop - 1 do
        budget.charge(1)
        if i < middle and (j >= stop or not less(from[j], from[i])) then
          to[k], i = from[i], i + 1
        else
          to[k], j = from[j], j + 1
        end
      end
    end
    from, to = to, from
    width = 2 * width
  end
  return from
end

--- Python's `in`.
---@param item any
---@param container any
---@return boolean
function values.contains(item, container)
  item, container = plain(item), plain(container)
  local of = class(container)
  if of == "string" then
    if type(item) ~= "string" then fail(("'in <string>' requires string as left operand, not %s"):format(type_name(values.defined(item)))) end
    return text.find(container, item) ~= nil
  end
  if of == Dict then return values.lookup(container, item) ~= nil end
  if of ~= Sequence and of ~= Undefined then fail(("argument of type '%s' is not iterable"):format(type_name(container))) end
  for _, one in ipairs(values.items(container)) do
    budget.charge(1)
    if values.equal(one, item) then return true end
  end
  return false
end

return values
