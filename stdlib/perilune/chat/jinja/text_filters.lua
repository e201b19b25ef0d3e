-- Filters of texts.
local budget = require "perilune.chat.jinja.budget"
local text = require "perilune.chat.jinja.text"
local values = require "perilune.chat.jinja.values"
local printing = require "perilune.chat.jinja.printing"
local bind = require "perilune.chat.jinja.bind"
local methods = require "perilune.chat.jinja.methods"

local fail, class, str = budget.fail, values.class, printing.str

local known, define = bind.filters()

define("trim", { "chars" }, function(value, a) return text.strip(str(value), bind.text("trim", a.chars)) end)
define("lower", {}, function(value) return text.lower(str(value)) end)
define("upper", {}, function(value) return text.upper(str(value)) end)
define("capitalize", {}, function(value) return methods.str.capitalize(str(value), {}) end)
define("string", {}, function(value) return class(value) == values.Markup and value or str(value) end)
define("safe", {}, function(value) return class(value) == values.Markup and value or values.markup(str(value)) end)
-- Letters, digits and _, as \\w has them.
local function is_word(c) return c == "_" or text.all(c, "alnum") end

define("wordcount", {}, function(value)
  local n, inside = 0, false
  for _, c in ipairs(text.chars(str(value))) do
    local word = is_word(c)
    if word and not inside then n = n + 1 end
    inside = word
  end
  return n
end)

define("title", {}, function(value)
  local out, word = {}, {}
  local function end_word()
    if #word > 0 then out[#out + 1] = text.upper(word[1]) .. text.lower(table.concat(word, "", 2)) end
    word = {}
  end
  for _, c in ipairs(text.chars(str(value))) do
    word[#word + 1] = c
    if c:find "^[-({%[<]$" or text.is_space(c) then end_word() end
  end
  end_word()
  return table.concat(out)
end)
define("replace", { "old", "new", "count" }, function(value, a)
  return text.replace(str(value), str(a.old), str(a.new), bind.integer("replace", a.count))
end)
define("center", { "width" }, function(value, a)
  local width = bind.integer("center", a.width) or 80
  return methods.str.center(str(value), { width })
end)

define("escape e", {}, function(value)
  return class(value) == values.Markup and value or values.markup(values.escaped(str(value)))
end)
define("forceescape", {}, function(value) return values.markup(values.escaped(str(value))) end)

define("indent", { "width", "first", "blank" }, function(value, a)
  local margin = type(a.width) == "string" and a.width or (" "):rep(math.min(bind.integer("indent", a.width) or 4, 4096))
  if type(value) ~= "string" then fail("indent: expected a str, got " .. values.type_name(values.defined(value))) end
  local lines = text.lines(value .. "\n")
  local blank = bind.flag(a.blank)
  budget.charge_bytes(#value + #lines * #margin)
  for i = 2, #lines do
    if blank or lines[i] ~= "" then lines[i] = margin .. lines[i] end
  end
  local out = table.concat(lines, "\n")
  return bind.flag(a.first) and margin .. out or out
end)


define("truncate", { "length", "killwords", "end", "leeway" }, function(value, a)
  local s, length, tail = str(value), bind.integer("truncate", a.length) or 255, a["end"] == nil and "..." or str(a["end"])
  local leeway, count = bind.integer("truncate", a.leeway) or 5, text.length(s)
  if length < text.length(tail) then fail(("truncate: expected a length of at least %d, got %d"):format(text.length(tail), length)) end
  if leeway < 0 then fail("truncate: expected a leeway of at least 0, got " .. leeway) end
  if count <= length + leeway then return s end
  local kept = text.sub(s, 0, length - text.length(tail))
  if not bind.flag(a.killwords) then kept = text.rsplit(kept, " ", 1)[1] end
  return kept .. tail
end)

-- Splits what is wider than `width`: at spaces, after hyphens between letters where asked, and inside of
-- words where asked, as Python's textwrap does with its spaces kept.
local function chunks_of(line, on_hyphens)
  local out = {}
  for spaces, word in line:gmatch "([ ]*)([^ ]*)" do
    if spaces ~= "" then out[#out + 1] = spaces end
    while on_hyphens do
      local head, rest = word:match "^([^-]*%a%a%-)(%a%a.*)$"
      if not head then break end
      out[#out + 1], word = head, rest
    end
    if word ~= "" then out[#out + 1] = word end
  end
  return out
end

local function wrapped(line, width, break_long, on_hyphens)
  local chunks, lines, at = chunks_of(line, on_hyphens), {}, 1
  while at <= #chunks do
    local parts, size = {}, 0
    if #lines > 0 and chunks[at]:find "^ +$" then at = at + 1 end
    while at <= #chunks and size + text.length(chunks[at]) <= width do
      parts[#parts + 1], size, at = chunks[at], size + text.length(chunks[at]), at + 1
    end
    if at <= #chunks and text.length(chunks[at]) > width then
      local room = math.max(width - size, width < 1 and 1 or 0)
      if break_long then
        parts[#parts + 1] = text.sub(chunks[at], 0, room)
        chunks[at] = text.sub(chunks[at], room, text.length(chunks[at]))
      elseif #parts == 0 then
        parts[1], at = chunks[at], at + 1
      end
    end
    if #parts > 0 and parts[#parts]:find "^ +$" then parts[#parts] = nil end
    if #parts > 0 then lines[#lines + 1] = table.concat(parts) end
    budget.charge(1)
  end
  return lines
end

define("wordwrap", { "width", "break_long_words", "wrapstring", "break_on_hyphens" }, function(value, a)
  local width, join = bind.integer("wordwrap", a.width) or 79, bind.text("wordwrap", a.wrapstring) or "\n"
  if width < 1 then fail "wordwrap: the width must be at least 1" end
  local break_long, on_hyphens = a.break_long_words == nil or bind.flag(a.break_long_words), a.break_on_hyphens == nil or bind.flag(a.break_on_hyphens)
  local out = {}
  for i, line in ipairs(text.lines(str(value))) do
    out[i] = table.concat(wrapped(line:gsub("[\t\11\12]", " "), width, break_long, on_hyphens), join)
  end
  return table.concat(out, join)
end)

local function quoted(s, safe)
  budget.charge_bytes(#s * 3)
  return (s:gsub("[^%w_.~" .. safe .. "-]", function(c) return ("%%%02X"):format(c:byte()) end))
end

define("urlencode", {}, function(value)
  local of, out = class(value), {}
  if of ~= values.Dict and of ~= values.Sequence then return quoted(str(value), "/") end
  local pairs_of = of == values.Dict and values.items(methods.find(value, "items")(value, {}, {})) or values.items(value)
  for i, pair in ipairs(pairs_of) do
    local two = values.items(pair)
    if #two ~= 2 then fail "urlencode: expected pairs" end
    out[i] = quoted(str(two[1]), ""):gsub("%%20", "+") .. "=" .. quoted(str(two[2]), ""):gsub("%%20", "+")
  end
  return table.concat(out, "&")
end)

define("xmlattr", { "autospace" }, function(value, a)
  if class(value) ~= values.Dict then fail("xmlattr: expected a dict, got " .. values.type_name(values.defined(value))) end
  local out = {}
  for _, key in ipairs(value.keys) do
    local one = values.lookup(value, key)
    if one ~= values.none and class(one) ~= values.Undefined then
      if str(key):find "[%s/>=]" then fail("xmlattr: a key with a character that ends it: " .. printing.repr(key)) end
      local shown = class(one) == values.Markup and one.value or values.escaped(str(one))
      out[#out + 1] = values.escaped(str(key)) .. '="' .. shown .. '"'
    end
  end
  local joined = table.concat(out, " ")
  return joined ~= "" and (a.autospace == nil or bind.flag(a.autospace)) and " " .. joined or joined
end)

define("filesizeformat", { "binary" }, function(value, a)
  local number = values.number(value) or tonumber(str(value)) or fail("filesizeformat: expected a number, got " .. values.type_name(value))
  local base, units = 1000, { "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB" }
  if bind.flag(a.binary) then base, units = 1024, { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB" } end
  if number == 1 then return "1 Byte" end
  if number < base then return ("%d Bytes"):format(number) end
  for i, unit in ipairs(units) do
    if number < base ^ (i + 1) or i == #units then return printing.fixed(number / base ^ i, 1) .. " " .. unit end
  end
end)

define("striptags", {}, function(value)
  local s = str(value):gsub("<!%-%-.-%-%->", ""):gsub("<[^>]*>", "")
  s = s:gsub("&lt;", "<"):gsub("&gt;", ">"):gsub("&#34;", '"'):gsub("&quot;", '"'):gsub("&#39;", "'"):gsub("&amp;", "&")
  return table.concat(text.split(s), " ")
end)

define("random", {}, function(value)
  local items = values.items(value)
  if #items == 0 then return values.undefined "No random item, sequence was empty." end
  return items[math.random(#items)]
end)

return known
