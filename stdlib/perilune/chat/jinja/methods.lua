-- Methods of texts that templates may call, and the way to those of other values.
local budget = require "perilune.chat.jinja.budget"
local text = require "perilune.chat.jinja.text"
local values = require "perilune.chat.jinja.values"
local printing = require "perilune.chat.jinja.printing"
local bind = require "perilune.chat.jinja.bind"
local others = require "perilune.chat.jinja.container_methods"

local methods = {}
local markup_method

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
for name, wanted in pairs { casefold = "fold", capitalize = "capitalize", swapcase = "swap", title = "title" } do
  plain(name, function(s) return text.case(s, wanted) end)
end

-- Whether every character, of at least one, is of a class.
for name, wanted in pairs { isdigit = "digit", isdecimal = "decimal", isnumeric = "numeric", isspace = "space", isalpha = "alpha",
  isalnum = "alnum" } do
  plain(name, function(s) return s ~= "" and text.all(s, wanted) end)
end
plain("isprintable", function(s) return text.all(s, "printable") end)
plain("isascii", function(s) return not s:find "[\128-\255]" end)
plain("isidentifier", function(s)
  local first = math.min(1, text.length(s))
  return s ~= "" and text.all(text.sub(s, 0, first), "identifier_start") and text.all(s, "identifier_part")
end)

-- How many characters are capitals (title letters among them), and small letters; whether capitals
-- begin every run of letters and stand nowhere else.
local function count_cases(s)
  local upper, lower, titled, inside = 0, 0, true, false
  for _, c in ipairs(text.chars(s)) do
    local is_upper, is_lower = text.all(c, "upper"), text.all(c, "lower")
    local is_title = not is_upper and not is_lower and text.all(c, "cased")
    if is_upper or is_title then upper = upper + 1 end
    if is_lower then lower = lower + 1 end
    if (is_upper or is_title) and inside or is_lower and not inside then titled = false end
    inside = is_upper or is_lower or is_title
    if is_title then lower = lower + 1 end
  end
  return upper, lower, titled
end
plain("isupper", function(s) local upper, lower = count_cases(s) return upper > 0 and lower == 0 end)
plain("islower", function(s) local upper, lower = count_cases(s) return upper == 0 and lower > 0 end)
plain("istitle", function(s) local upper, lower, titled = count_cases(s) return titled and upper + lower > 0 end)

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

-- The odd blank stands as Python puts it: before the text where the width is odd too.
function str.center(self, arguments, named)
  local a = bind.names("center", { "width", "fillchar" }, 1, arguments, named)
  local fill, width = bind.text("center", a.fillchar) or " ", bind.integer("center", a.width)
  if text.length(fill) ~= 1 then fail "center: the fill character must be exactly one character long" end
  local missing = width - text.length(self)
  if missing <= 0 then return self end
  budget.charge_bytes(width)
  local before = math.floor(missing / 2) + (missing % 2 == 1 and width % 2 == 1 and 1 or 0)
  return fill:rep(before) .. self .. fill:rep(missing - before)
end

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

function str.format_map(self, arguments, named, attribute)
  local map = bind.names("format_map", { "mapping" }, 1, arguments, named).mapping
  if values.class(map) ~= values.Dict then fail("format_map: expected a dict, got " .. values.type_name(map)) end
  local by_name = {}
  for _, key in ipairs(map.keys) do if type(key) == "string" then by_name[key] = values.lookup(map, key) end end
  return str.format(self, {}, by_name, attribute)
end

-- A table for translate: the number of a character to a text, a number or none.
function str.maketrans(_, arguments, named)
  local a = bind.names("maketrans", { "x", "y", "z" }, 1, arguments, named)
  local out = values.dict()
  if a.y == nil then
    if values.class(a.x) ~= values.Dict then fail "maketrans: one argument must be a dict" end
    for _, key in ipairs(a.x.keys) do values.put(out, type(key) == "string" and text.code(key) or key, values.lookup(a.x, key)) end
    return out
  end
  local from, to = text.chars(of_text("maketrans", a.x)), text.chars(of_text("maketrans", a.y))
  if #from ~= #to then fail "maketrans: the first two arguments must have equal length" end
  for i, c in ipairs(from) do values.put(out, text.code(c), text.code(to[i])) end
  for _, c in ipairs(text.chars(bind.text("maketrans", a.z) or "")) do values.put(out, text.code(c), none) end
  return out
end

function str.translate(self, arguments, named)
  local map = bind.names("translate", { "table" }, 1, arguments, named).table
  if values.class(map) ~= values.Dict then fail("translate: expected a dict, got " .. values.type_name(map)) end
  local out = text.chars(self)
  for i, c in ipairs(out) do
    local to = values.lookup(map, text.code(c))
    if to ~= nil then out[i] = to == none and "" or type(to) == "number" and text.character(to) or of_text("translate", to) end
  end
  return table.concat(out)
end

function str.encode(self, arguments, named)
  local a = bind.names("encode", { "encoding", "errors" }, 0, arguments, named)
  local encoding = (bind.text("encode", a.encoding) or "utf-8"):lower():gsub("[-_]", "")
  if encoding ~= "utf8" and encoding ~= "ascii" or encoding == "ascii" and self:find "[\128-\255]" then
    fail(("encode: %s cannot hold this text, or is not known here"):format(encoding))
  end
  budget.charge_bytes(#self)
  local bytes = {}
  for i = 1, #self do bytes[i] = self:byte(i) end
  return values.sequence(bytes, "bytes")
end

-- The first argument that a method of marked text escapes; others take them as they are.
local escaped_from = { replace = 2, ljust = 2, rjust = 2, center = 2, join = 1, format = 1, format_map = 1 }

-- A method of marked text: what is put in is escaped, and what comes out is marked.
function markup_method(method, name)
  local function safe(value, at)
    if values.class(value) == values.Markup then return value.value end
    local escapes = escaped_from[name]
    return type(value) == "string" and escapes and (type(at) == "string" or at >= escapes) and values.escaped(value) or value
  end
  local function marked(value)
    if type(value) == "string" then return values.markup(value) end
    if values.class(value) ~= values.Sequence then return value end
    local out = {}
    for i, item in ipairs(value.items) do out[i] = marked(item) end
    return values.sequence(out, value.kind)
  end
  return function(self, arguments, named, attribute)
    local given, by_name = {}, {}
    for i, value in ipairs(arguments) do given[i] = safe(value, i) end
    for key, value in pairs(named) do by_name[key] = safe(value, key) end
    if name == "join" and given[1] ~= nil then
      local items = {}
      for i, item in ipairs(values.items(given[1])) do items[i] = safe(item, 1) end
      given[1] = values.sequence(items)
    end
    return marked(method(self.value, given, by_name, attribute))
  end
end

--- A method of a value by name, or nil.
---@param value any
---@param name string
---@return function|nil
function methods.find(value, name)
  local of = values.class(value)
  if of == "string" then return str[name] end
  if of == values.Markup then return str[name] and markup_method(str[name], name) end
  return others.find(value, name)
end

--- The methods of texts, for filters of the same name.
methods.str = str

return methods
