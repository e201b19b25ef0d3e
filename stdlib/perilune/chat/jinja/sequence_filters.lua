-- Filters of lists and dictionaries that apply no other filter or test.
local budget = require "perilune.chat.jinja.budget"
local text = require "perilune.chat.jinja.text"
local values = require "perilune.chat.jinja.values"
local printing = require "perilune.chat.jinja.printing"
local bind = require "perilune.chat.jinja.bind"
local methods = require "perilune.chat.jinja.methods"
local checks = require "perilune.chat.jinja.checks"
local attributes = require "perilune.chat.jinja.attributes"

local fail, class, none, str = budget.fail, values.class, values.none, printing.str

local known, define = bind.filters()

local function generator(items) return values.sequence(items, "generator") end

define("length count", {}, function(value) return values.length(value) end)
define("list", {}, function(value) return values.sequence(values.items(value)) end)

define("first", {}, function(value)
  if class(value) == values.Sequence and value.kind == "generator" then
    local item = value.items[1]
    local rest = {}
    for i = 2, #value.items do rest[i - 1] = value.items[i] end
    value.items = rest
    return item == nil and values.undefined "No first item, sequence was empty." or item
  end
  local item = values.items(value)[1]
  if item == nil then return values.undefined "No first item, sequence was empty." end
  return item
end)

define("last", {}, function(value)
  if class(value) == values.Sequence and value.kind == "generator" then fail "'generator' object is not reversible" end
  local items = values.items(value)
  if #items == 0 then return values.undefined "No last item, sequence was empty." end
  return items[#items]
end)

define("join", { "d", "attribute" }, function(value, a)
  local parts, size, get = {}, 0, attributes.getter(a.attribute)
  local separator = a.d == nil and "" or str(a.d)
  for i, item in ipairs(values.items(value)) do
    parts[i] = str(get(item))
    size = size + #parts[i] + #separator
    budget.charge(1)
  end
  budget.charge_bytes(size)
  return table.concat(parts, separator)
end)

define("reverse", {}, function(value)
  local list = text.reversed(values.items(value))
  return type(value) == "string" and table.concat(list) or generator(list)
end)

define("default d", { "default_value", "boolean" }, function(value, a)
  if class(value) == values.Undefined or bind.flag(a.boolean) and not values.truth(value) then
    if a.default_value == nil then return "" end
    return a.default_value
  end
  return value
end)

define("items", {}, function(value)
  if class(value) == values.Undefined then return generator {} end
  if class(value) ~= values.Dict then fail "Can only get item pairs from a mapping." end
  return generator(values.items(methods.find(value, "items")(value, {}, {})))
end)

-- Compares by keys, in which text has no case unless `sensitive`.
local function by_keys(getters, sensitive)
  local function key(value) return sensitive and value or checks.without_case(value) end
  return function(a, b)
    for _, get in ipairs(getters) do
      local x, y = key(get(a)), key(get(b))
      if not values.equal(x, y) then return values.less(x, y) end
    end
    return false
  end
end

-- Sorted, descending without turning round what compares equal.
local function sorted(list, less, reverse)
  if not reverse then return values.sorted(list, less) end
  return values.sorted(list, function(a, b) return less(b, a) end)
end

define("sort", { "reverse", "case_sensitive", "attribute" }, function(value, a)
  local getters = {}
  local names = type(a.attribute) == "string" and text.split(a.attribute, ",") or { a.attribute }
  if #names == 0 then names = { none } end
  for i, name in ipairs(names) do getters[i] = attributes.getter(name) end
  return values.sequence(sorted(values.items(value), by_keys(getters, bind.flag(a.case_sensitive)), bind.flag(a.reverse)))
end)

define("dictsort", { "case_sensitive", "by", "reverse" }, function(value, a)
  if class(value) ~= values.Dict then fail("dictsort: expected a dict, got " .. values.type_name(values.defined(value))) end
  local by = a.by or "key"
  if by ~= "key" and by ~= "value" then fail 'dictsort: by is "key" or "value"' end
  local place = by == "key" and 1 or 2
  local pairs_of = values.items(methods.find(value, "items")(value, {}, {}))
  local less = by_keys({ function(pair) return pair.items[place] end }, bind.flag(a.case_sensitive))
  return values.sequence(sorted(pairs_of, less, bind.flag(a.reverse)))
end)

define("unique", { "case_sensitive", "attribute" }, function(value, a)
  local seen, out, get = {}, {}, attributes.getter(a.attribute)
  for _, item in ipairs(values.items(value)) do
    local key = get(item)
    if not bind.flag(a.case_sensitive) then key = checks.without_case(key) end
    key = values.hash(key)
    if not seen[key] then
      seen[key] = true
      out[#out + 1] = item
    end
  end
  return generator(out)
end)

local function extreme(name, better)
  define(name, { "case_sensitive", "attribute" }, function(value, a)
    local get, best, best_key = attributes.getter(a.attribute), nil, nil
    for _, item in ipairs(values.items(value)) do
      local key = get(item)
      if not bind.flag(a.case_sensitive) then key = checks.without_case(key) end
      budget.charge(1)
      if best == nil or better(key, best_key) then best, best_key = item, key end
    end
    if best == nil then return values.undefined "No aggregated item, sequence was empty." end
    return best
  end)
end
extreme("min", function(a, b) return values.less(a, b) end)
extreme("max", function(a, b) return values.less(b, a, ">") end)

define("batch", { "linecount", "fill_with" }, function(value, a)
  local size, rows, row = bind.integer("batch", a.linecount) or fail "batch: how many?", {}, {}
  for _, item in ipairs(values.items(value)) do
    if #row == size then
      rows[#rows + 1] = values.sequence(row)
      row = {}
    end
    row[#row + 1] = item
  end
  if #row > 0 then
    if a.fill_with ~= nil and a.fill_with ~= none then
      budget.charge(math.max(size, 0))
      while #row < size do row[#row + 1] = a.fill_with end
    end
    rows[#rows + 1] = values.sequence(row)
  end
  return generator(rows)
end)

define("slice", { "slices", "fill_with" }, function(value, a)
  local items, count = values.items(value), bind.integer("slice", a.slices) or 0
  if count < 1 then fail "slice: how many?" end
  budget.charge(count)
  local each, extra, at, rows = math.floor(#items / count), #items % count, 0, {}
  for i = 1, count do
    local row, size = {}, each + (i <= extra and 1 or 0)
    for j = 1, size do row[j] = items[at + j] end
    at = at + size
    if a.fill_with ~= nil and a.fill_with ~= none and i > extra then row[#row + 1] = a.fill_with end
    rows[i] = values.sequence(row)
  end
  return generator(rows)
end)

define("groupby", { "attribute", "default", "case_sensitive" }, function(value, a)
  local get, groups = attributes.getter(a.attribute, a.default), {}
  local function key_of(item)
    local key = get(item)
    return bind.flag(a.case_sensitive) and key or checks.without_case(key)
  end
  local list = values.sorted(values.items(value), function(x, y) return values.less(key_of(x), key_of(y)) end)
  local last
  for _, item in ipairs(list) do
    if last == nil or not values.equal(last, key_of(item)) then
      last = key_of(item)
      groups[#groups + 1] = { get(item), {} }
    end
    table.insert(groups[#groups][2], item)
  end
  for i, group in ipairs(groups) do
    group[2] = values.sequence(group[2])
    groups[i] = values.sequence(group, "tuple")
    groups[i].grouper, groups[i].list = group[1], group[2]
  end
  return values.sequence(groups)
end)

define("attr", { "name" }, function(value, a) return attributes.attribute(value, bind.text("attr", a.name) or "") end)

return known
