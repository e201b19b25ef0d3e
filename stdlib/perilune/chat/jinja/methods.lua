-- Methods of texts, dictionaries and lists that templates may call. What would change a value is
-- refused, as the published sandbox does.
local budget = require "perilune.chat.jinja.budget"
local text = require "perilune.chat.jinja.text"
local values = require "perilune.chat.jinja.values"
local printing = require "perilune.chat.jinja.printing"
local bind = require "perilune.chat.jinja.bind"

local methods = {}

local fail, none = budget.fail, values.none

local function of_text(name, value) return bind.text(name, value) or fail(name .. ": expected a str") end

-- A sequence of texts.
local function list_of(list) return values.sequence(list) end

local str = {}

local function plain(name, fn)
  str[name] = function(self, arguments, named)
    bind.names(name, {}, 0, arguments, named)
    budget.charge_bytes(#self)
    return fn(self)
  end
end

local function stripping(name, fn)
  str[name] = function(self, arguments, named)
    budget.charge_bytes(#self)
    return fn(self, bind.text(name, bind.names(name, { "chars" }, 0, arguments, named).chars))
  end
end

stripping("strip", text.strip)
stripping("lstrip", text.lstrip)
stripping("rstrip", text.rstrip)
plain("upper", text.upper)
plain("lower", text.lower)
plain("casefold", function(s) return (text.replace(text.lower(s), "\195\159", "ss")) end)
plain("capitalize", function(s)
  local first = math.min(1, text.length(s))
  return text.upper(text.sub(s, 0, first)) .. text.lower(text.sub(s, first, text.length(s)))
end)
plain("swapcase", function(s)
  local out = text.chars(s)
  for i, c in ipairs(out) do out[i] = text.lower(c) ~= c and text.lower(c) or text.upper(c) end
  return table.concat(out)
end)
plain("title", function(s)
  local out, inside = text.chars(s), false
  for i, c in ipairs(out) do
    out[i] = inside and text.lower(c) or text.upper(c)
    inside = text.is_cased(c)
  end
  return table.concat(out)
end)

-- Whether every character, of at least one, passes.
local function every(name, passes)
  plain(name, function(s)
    for _, c in ipairs(text.chars(s)) do if not passes(c) then return false end end
    return s ~= ""
  end)
end

local function is_digit(c) return c:find "^%d$" ~= nil end
every("isdigit", is_digit)
every("isdecimal", is_digit)
every("isnumeric", is_digit)
every("isspace", text.is_space)
every("isalpha", text.is_letter)
every("isalnum", function(c) return is_digit(c) or text.is_letter(c) end)
plain("isascii", function(s) return not s:find "[\128-\255]" end)
plain("isidentifier", function(s) return s:find "^[%a_\128-\255][%w_\128-\255]*$" ~= nil end)

local function has_case(s)
  for _, c in ipairs(text.chars(s)) do if text.is_cased(c) then return true end end
  return false
end
plain("isupper", function(s) return text.upper(s) == s and has_case(s) end)
plain("islower", function(s) return text.lower(s) == s and has_case(s) end)

local function splitting(name, fn)
  str[name] = function(self, arguments, named)
    local a = bind.names(name, { "sep", "maxsplit" }, 0, arguments, named)
    return list_of(fn(self, bind.text(name, a.sep), bind.integer(name, a.maxsplit)))
  end
end
splitting("split", text.split)
splitting("rsplit", text.rsplit)

function str.splitlines(self, arguments, named)
  return list_of(text.lines(self, bind.flag(bind.names("splitlines", { "keepends" }, 0, arguments, named).keepends)))
end

local function partition(name, from_end)
  str[name] = function(self, arguments, named)
    local separator = of_text(name, bind.names(name, { "sep" }, 1, arguments, named).sep)
    local pieces = (from_end and text.rsplit or text.split)(self, separator, 1)
    if #pieces == 2 then return values.sequence({ pieces[1], separator, pieces[2] }, "tuple") end
    return values.sequence(from_end and { "", "", self } or { self, "", "" }, "tuple")
  end
end
partition("partition", false)
partition("rpartition", true)

-- The part of a text that start and stop name, and how many characters stand before it.
local function window(self, name, a)
  local first, last = bind.integer(name, a.start), bind.integer(name, a["end"])
  if not first and not last then return self, 0 end
  local n = text.length(self)
  if first and first > n then return nil, n end
  first, last = bind.slice(n, first, last)
  return text.sub(self, first, math.max(first, last)), first
end

local function edge(name, matches)
  str[name] = function(self, arguments, named)
    local a = bind.names(name, { "prefix", "start", "end" }, 1, arguments, named)
    local part = window(self, name, a)
    local wanted = values.class(a.prefix) == values.Sequence and a.prefix.kind == "tuple" and a.prefix.items or { a.prefix }
    for _, one in ipairs(wanted) do
      if part and matches(part, of_text(name, one)) then return true end
    end
    return false
  end
end
local function starts(s, part) return s:sub(1, #part) == part end
local function ends(s, part) return part == "" or s:sub(-#part) == part end
edge("startswith", starts)
edge("endswith", ends)

function str.removeprefix(self, arguments, named)
  local part = of_text("removeprefix", bind.names("removeprefix", { "prefix" }, 1, arguments, named).prefix)
  return starts(self, part) and self:sub(#part + 1) or self
end

function str.removesuffix(self, arguments, named)
  local part = of_text("removesuffix", bind.names("removesuffix", { "suffix" }, 1, arguments, named).suffix)
  return part ~= "" and ends(self, part) and self:sub(1, -#part - 1) or self
end

function str.replace(self, arguments, named)
  local a = bind.names("replace", { "old", "new", "count" }, 2, arguments, named)
  return text.replace(self, of_text("replace", a.old), of_text("replace", a.new), bind.integer("replace", a.count))
end

-- The last place of a part, or nil.
local function find_last(s, part)
  local found, from = nil, 1
  while true do
    local start = text.find(s, part, from)
    if not start or start > #s + 1 then return found end
    found, from = start, start + 1
    if start > #s then return found end
  end
end

local function finding(name, find, missing)
  str[name] = function(self, arguments, named)
    local a = bind.names(name, { "sub", "start", "end" }, 1, arguments, named)
    local part, before = window(self, name, a)
    local at = part and find(part, of_text(name, a.sub))
    if at then return before + text.characters_before(part, at) end
    if missing then fail "substring not found" end
    return -1
  end
end
finding("find", text.find)
finding("rfind", find_last)
finding("index", text.find, true)
finding("rindex", find_last, true)

function str.count(self, arguments, named)
  local a = bind.names("count", { "sub", "start", "end" }, 1, arguments, named)
  local part, wanted = window(self, "count", a), of_text("count", a.sub)
  if not part then return 0 end
  if wanted == "" then return text.length(part) + 1 end
  return #text.split(part, wanted) - 1
end

function str.join(self, arguments, named)
  local parts, size = {}, 0
  for i, item in ipairs(values.items(bind.names("join", { "iterable" }, 1, arguments, named).iterable)) do
    if type(item) ~= "string" then
      fail(("sequence item %d: expected str instance, %s found"):format(i - 1, values.type_name(values.defined(item))))
    end
    parts[i], size = item, size + #item + #self
  end
  budget.charge_bytes(size)
  return table.concat(parts, self)
end

local function padding(name, side)
  str[name] = function(self, arguments, named)
    local a = bind.names(name, { "width", "fillchar" }, 1, arguments, named)
    local fill = bind.text(name, a.fillchar) or " "
    if text.length(fill) ~= 1 then fail(name .. ": the fill character must be exactly one character long") end
    local width = bind.integer(name, a.width)
    budget.charge_bytes(math.max(width, 0))
    return printing.pad(self, width, side, fill)
  end
end
padding("ljust", "<")
padding("rjust", ">")
padding("center", "^")

function str.zfill(self, arguments, named)
  local width = bind.integer("zfill", bind.names("zfill", { "width" }, 1, arguments, named).width)
  local sign, digits = self:match "^([-+]?)(.*)$"
  budget.charge_bytes(math.max(width, 0))
  return sign .. printing.pad(digits, width - #sign, ">", "0")
end

function str.expandtabs(self, arguments, named)
  local size = bind.integer("expandtabs", bind.names("expandtabs", { "tabsize" }, 0, arguments, named).tabsize) or 8
  budget.charge_bytes(#self * math.max(1, math.min(size, 4096)))
  local out, column = {}, 0
  for i, c in ipairs(text.chars(self)) do
    local width = c == "\t" and (size > 0 and size - column % size or 0) or 1
    out[i] = c == "\t" and (" "):rep(width) or c
    column = (c == "\n" or c == "\r") and 0 or column + width
  end
  return table.concat(out)
end

-- "{}", "{0}", "{name}", "{name.part[0]}" with a format; what they hold is looked up by `attribute`.
function str.format(self, arguments, named, attribute)
  local out, at, automatic = {}, 1, 0
  while true do
    local start = self:find("[{}]", at)
    if not start then break end
    out[#out + 1] = self:sub(at, start - 1)
    local c = self:sub(start, start)
    if self:sub(start + 1, start + 1) == c then
      out[#out + 1], at = c, start + 2
    else
      local field, after = self:match("^{([^{}]*)}()", start)
      if not field then fail(("format: a single '%s'"):format(c)) end
      local path, conversion, spec = field:match "^([^!:]*)!?([rsa]?):?(.*)$"
      local name, rest = path:match "^([^.%[]*)(.*)$"
      local value
      if name == "" then
        automatic = automatic + 1
        value = arguments[automatic]
      elseif name:find "^%d+$" then
        value = arguments[tonumber(name) + 1]
      else
        value = named[name]
      end
      if value == nil then fail(("format: no argument '%s'"):format(name == "" and tostring(automatic - 1) or name)) end
      for mark, key in rest:gmatch "([.%[])([^.%[%]]+)" do
        value = values.defined(attribute(value, mark == "[" and tonumber(key) or key))
      end
      out[#out + 1] = printing.field(conversion == "r" and printing.repr(value) or value, spec)
      at = after
    end
  end
  out[#out + 1] = self:sub(at)
  return table.concat(out)
end

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

--- A method of a value by name, or nil.
---@param value any
---@param name string
---@return function|nil
function methods.find(value, name)
  local of = values.class(value)
  if of == "string" then return str[name] end
  if of == values.Dict then return dict[name] end
  if of == values.Sequence then
    if value.kind == "list" then return list[name] end
    return (value.kind == "tuple" or value.kind == "range") and tuple[name] or nil
  end
  return nil
end

--- The methods of texts, for filters of the same name.
methods.str = str

return methods
