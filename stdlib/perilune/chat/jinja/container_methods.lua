-- Methods of dictionaries, lists, numbers and bytes that templates may call. What would change a value
-- is refused, as the published sandbox does.
local budget = require "perilune.chat.jinja.budget"
local values = require "perilune.chat.jinja.values"
local printing = require "perilune.chat.jinja.printing"
local bind = require "perilune.chat.jinja.bind"

local methods = {}

local fail, none = budget.fail, values.none

-- ---------------------------------------------------------------- bytes and numbers

local bytes, number = {}, {}

local function bytes_text(self)
  local out = {}
  for i, byte in ipairs(self.items) do out[i] = string.char(byte) end
  return table.concat(out)
end

function bytes.decode(self) return bytes_text(self) end
function bytes.hex(self) return (bytes_text(self):gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end

function number.bit_length(self)
  local left, bits = math.abs(values.number(self)), 0
  while left >= 1 do left, bits = math.floor(left / 2), bits + 1 end
  return bits
end

local float = { is_integer = function(self) return self.value % 1 == 0 end }

-- ---------------------------------------------------------------- dictionaries

local dict = {}

local function entries(self, kind)
  local out = {}
  for i, key in ipairs(self.keys) do
    local value = values.lookup(self, key)
    out[i] = kind == "dict_keys" and key or kind == "dict_values" and value or values.sequence({ key, value }, "tuple")
  end
  return values.sequence(out, kind)
end

for name, kind in pairs { keys = "dict_keys", values = "dict_values", items = "dict_items" } do
  dict[name] = function(self, arguments, named)
    bind.names(name, {}, 0, arguments, named)
    return entries(self, kind)
  end
end

function dict.get(self, arguments, named)
  local a = bind.names("get", { "key", "default" }, 1, arguments, named)
  local found = values.lookup(self, a.key)
  if found ~= nil then return found end
  return a.default == nil and none or a.default
end

function dict.copy(self, arguments, named)
  bind.names("copy", {}, 0, arguments, named)
  local out = values.dict()
  for _, key in ipairs(self.keys) do values.put(out, key, values.lookup(self, key)) end
  return out
end

-- ---------------------------------------------------------------- lists

local list = {}

function list.index(self, arguments, named)
  local a = bind.names("index", { "value" }, 1, arguments, named)
  for i, item in ipairs(self.items) do if values.equal(item, a.value) then return i - 1 end end
  return fail(printing.repr(a.value) .. " is not in the list")
end

function list.count(self, arguments, named)
  local a, n = bind.names("count", { "value" }, 1, arguments, named), 0
  for _, item in ipairs(self.items) do if values.equal(item, a.value) then n = n + 1 end end
  return n
end

function list.copy(self, arguments, named)
  bind.names("copy", {}, 0, arguments, named)
  return values.sequence(self.items)
end

local function refused(names, kind, into)
  for name in names:gmatch "%S+" do
    into[name] = function() fail(("%s.%s would change a value: templates may not"):format(kind, name)) end
  end
end
refused("append extend insert pop remove clear sort reverse", "list", list)
refused("pop popitem update clear setdefault", "dict", dict)

local tuple = { index = list.index, count = list.count }

--- A method of a value that is no text, or nil.
---@param value any
---@param name string
---@return function|nil
function methods.find(value, name)
  local of = values.class(value)
  if of == values.Dict then return dict[name] end
  if of == values.Sequence then
    if value.kind == "list" then return list[name] end
    if value.kind == "bytes" then return bytes[name] end
    return (value.kind == "tuple" or value.kind == "range") and tuple[name] or nil
  end
  if of == "number" or of == "boolean" then return number[name] end
  if of == values.Float then return float[name] end
  return nil
end

return methods
