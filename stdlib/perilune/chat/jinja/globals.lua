-- Names that every template may read.
local core = require "perilune.core"
local budget = require "perilune.chat.jinja.budget"
local values = require "perilune.chat.jinja.values"
local printing = require "perilune.chat.jinja.printing"
local bind = require "perilune.chat.jinja.bind"

local globals = {}

local fail, class = budget.fail, values.class

-- As the published sandbox has it.
local max_range = 100000

local function range(arguments, named)
  local a = bind.names("range", { "start", "stop", "step" }, 1, arguments, named)
  local first, last, step = bind.integer("range", a.start), bind.integer("range", a.stop), bind.integer("range", a.step) or 1
  if last == nil then first, last = 0, first end
  if first == nil or last == nil then fail "'NoneType' object cannot be interpreted as an integer" end
  if step == 0 then fail "range() arg 3 must not be zero" end
  local count = math.max(0, math.ceil((last - first) / step))
  if count > max_range then fail(("a range of more than %d numbers"):format(max_range)) end
  budget.charge(count / 8)
  local items = {}
  for i = 1, count do items[i] = first + (i - 1) * step end
  return values.range(items, first, last, step)
end

-- Pairs from a dictionary or a list of pairs, then from names.
local function fill(into, callable, arguments, named, order)
  if #arguments > 1 then fail(callable .. " takes at most 1 argument") end
  local from = arguments[1]
  if class(from) == values.Dict then
    for _, key in ipairs(from.keys) do values.put(into, key, values.lookup(from, key)) end
  elseif from ~= nil then
    for _, pair in ipairs(values.items(from)) do
      local two = values.items(pair)
      if #two ~= 2 then fail(callable .. ": expected pairs") end
      values.put(into, two[1], two[2])
    end
  end
  for _, name in ipairs(order) do values.put(into, name, named[name]) end
  return into
end

local function dict(arguments, named, order) return fill(values.dict(), "dict", arguments, named, order) end

local function fromkeys(arguments, named)
  local a, out = bind.names("fromkeys", { "iterable", "value" }, 1, arguments, named), values.dict()
  for _, key in ipairs(values.items(a.iterable)) do values.put(out, key, a.value == nil and values.none or a.value) end
  return out
end

local function namespace(arguments, named, order)
  local out = fill(setmetatable({ keys = {}, map = {} }, values.Namespace), "namespace", arguments, named, order)
  for _, key in ipairs(out.keys) do
    if type(key) == "string" and key:find "^_" then fail "names of a namespace cannot begin with _" end
  end
  return out
end

local function raise_exception(arguments, named)
  local message = printing.str(bind.names("raise_exception", { "message" }, 1, arguments, named).message)
  error({ jinja = "the template refuses these messages: " .. message, code = "argument" }, 0)
end

local function cycler(arguments)
  if #arguments == 0 then fail "at least one item has to be provided" end
  local at = 1
  local object = values.func("cycler", function() return fail "'Cycler' object is not callable" end)
  object.members = function(name)
    if name == "current" then return arguments[at] end
    if name == "next" then
      return values.func("next", function()
        local item = arguments[at]
        at = at % #arguments + 1
        return item
      end)
    elseif name == "reset" then
      return values.func("reset", function()
        at = 1
        return values.none
      end)
    end
  end
  return object
end

local function joiner(arguments, named)
  local separator, used = bind.names("joiner", { "sep" }, 0, arguments, named).sep or ", ", false
  return values.func("joiner", function()
    if used then return separator end
    used = true
    return ""
  end)
end

-- ---------------------------------------------------------------- dates

local months = { "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December" }
local days = { "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday" }

local function two(n) return ("%02d"):format(n) end
local function twelve(t) return (t.hour + 11) % 12 + 1 end

local parts = {
  Y = function(t) return ("%d"):format(t.year) end, y = function(t) return two(t.year % 100) end,
  m = function(t) return two(t.month) end, d = function(t) return two(t.day) end, e = function(t) return ("%2d"):format(t.day) end,
  H = function(t) return two(t.hour) end, I = function(t) return two(twelve(t)) end, M = function(t) return two(t.min) end,
  S = function(t) return two(t.sec) end, p = function(t) return t.hour < 12 and "AM" or "PM" end, f = function() return "000000" end,
  B = function(t) return months[t.month] end, b = function(t) return months[t.month]:sub(1, 3) end,
  A = function(t) return days[t.wday] end, a = function(t) return days[t.wday]:sub(1, 3) end,
  j = function(t) return ("%03d"):format(t.yday) end, w = function(t) return tostring(t.wday - 1) end,
  u = function(t) return tostring((t.wday + 5) % 7 + 1) end, n = function() return "\n" end, t = function() return "\t" end,
  U = function(t) return two(math.floor((t.yday + 7 - t.wday) / 7)) end, Z = function() return "" end, z = function() return "" end,
  ["%"] = function() return "%" end,
}
parts.h = parts.b
local composed = { F = "%Y-%m-%d", T = "%H:%M:%S", R = "%H:%M", D = "%m/%d/%y", c = "%a %b %e %H:%M:%S %Y", x = "%m/%d/%y", X = "%H:%M:%S",
  r = "%I:%M:%S %p" }

-- A date as a format writes it, in English wherever the program runs.
local function strftime(format, t)
  format = format:gsub("%%([FTRDcxXr])", composed)
  return (format:gsub("%%(%-?)([%a%%])", function(short, letter)
    local part = parts[letter]
    if not part then fail(("strftime_now: %%%s is not a part of a date"):format(letter)) end
    local shown = part(t)
    return short == "-" and shown:gsub("^[0 ]+(.)", "%1") or shown
  end))
end

-- The moment that `date` names: nil for now, seconds since 1970, "YYYY-MM-DD", or a table as
-- os.time takes it.
local function moment(date)
  if date == nil then return os.date "*t" end
  if type(date) == "number" then return os.date("*t", date) end
  if type(date) == "string" then
    local year, month, day, rest = date:match "^(%d%d%d%d)-(%d%d?)-(%d%d?)(.*)$"
    local hour, minute, second = (rest or ""):match "^[T ](%d%d):(%d%d):?(%d*)$"
    if not year or rest ~= "" and not hour then
      core.error { code = "option", op = "chat", message = 'option date: expected "YYYY-MM-DD", got "' .. date .. '"', level = 1 }
    end
    date = { year = tonumber(year), month = tonumber(month), day = tonumber(day), hour = tonumber(hour) or 12, min = tonumber(minute) or 0,
      sec = tonumber(second) or 0 }
  end
  return os.date("*t", os.time(date))
end

--- A new table of the names.
---@param date any the date that strftime_now tells; nil: today
---@return table<string, any>
function globals.new(date)
  local out = {}
  local function add(name, call) out[name] = values.func(name, call) end
  add("range", range)
  add("dict", dict)
  out.dict.members = function(name) return name == "fromkeys" and values.func(name, fromkeys) or nil end
  add("namespace", namespace)
  add("raise_exception", raise_exception)
  add("cycler", cycler)
  add("joiner", joiner)
  local now = date ~= nil and moment(date) or nil
  add("strftime_now", function(arguments, named)
    local format = bind.text("strftime_now", bind.names("strftime_now", { "format" }, 1, arguments, named).format)
    budget.charge_bytes(#format * 16)
    return strftime(format, now or moment(nil))
  end)
  return out
end

return globals
