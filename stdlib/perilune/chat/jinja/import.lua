-- Values of a caller for a template: JSON text as it stands, Lua tables by a rule.
local core = require "perilune.core"
local budget = require "perilune.chat.jinja.budget"
local text = require "perilune.chat.jinja.text"
local values = require "perilune.chat.jinja.values"

local import = {}

local fail = budget.fail

-- ---------------------------------------------------------------- Lua tables

-- The order of a Lua table's keys, which has none: these first, the others by name.
local first = { "type", "function", "role", "id", "name", "title", "description", "parameters", "properties", "required", "return",
  "content", "text", "enum", "items", "format", "default", "arguments", "tool_calls", "tool_call_id" }
local rank = {}
for i, name in ipairs(first) do rank[name] = i end

-- Names whose empty table is a dictionary; any other {} is a list.
local dictionaries = { properties = true, parameters = true, arguments = true, ["function"] = true, ["$defs"] = true, definitions = true }

local array_mark = getmetatable(core.array {})

local function key_less(a, b)
  local x, y = rank[a] or math.huge, rank[b] or math.huge
  if x ~= y then return x < y end
  return a < b
end

local function from_table(t, name, seen, depth)
  if seen[t] then fail("a table that holds itself, at " .. tostring(name)) end
  budget.check_depth(depth)
  local count = #t
  local is_list = count > 0 or getmetatable(t) == array_mark or next(t) == nil and not dictionaries[name]
  seen[t] = true
  local out
  if is_list then
    local items = {}
    for i = 1, count do items[i] = import.value(t[i], i, seen, depth + 1) end
    out = values.sequence(items)
  else
    local keys = {}
    for key in pairs(t) do
      if type(key) ~= "string" then fail(("key %s of %s: keys are 1..n or texts"):format(tostring(key), tostring(name))) end
      keys[#keys + 1] = key
    end
    table.sort(keys, key_less)
    out = values.dict()
    for _, key in ipairs(keys) do values.put(out, key, import.value(t[key], key, seen, depth + 1)) end
  end
  seen[t] = nil
  return out
end

--- A Lua value as a template sees it. nil is none; numbers without a fraction are integers. The keys
--- of a table come type, function, role, id, name, title, description, parameters, properties,
--- required, … first, the others by name; {} is a list, except as properties, parameters, arguments,
--- function, $defs and definitions. Values that import.json made pass as they are.
---@param value any
---@param name any for messages, and for what {} is
---@return any
function import.value(value, name, seen, depth)
  local t = type(value)
  if t == "nil" then return values.none end
  if t == "string" or t == "boolean" then return value end
  if t == "number" then
    if value % 1 == 0 and math.abs(value) <= 2 ^ 53 then return value + 0 end   -- -0 is 0
    return values.float(value)
  end
  if t ~= "table" then fail(("%s cannot be given to a template: %s"):format(t, tostring(name))) end
  local of = getmetatable(value)
  if of == values.Sequence or of == values.Dict or of == values.Float or of == values.Big or value == values.none then return value end
  return from_table(value, name, seen or {}, depth or 1)
end

-- What a value beside its text weighs, in bytes.
local bytes_per_value = 16

--- How much a value holds, in bytes of its texts and a few for each value: what limits scale with.
---@param value any an imported value
---@return number
function import.size(value)
  if type(value) == "string" then return #value end
  local size, of = bytes_per_value, values.class(value)
  if of == values.Sequence then
    for _, item in ipairs(value.items) do size = size + import.size(item) end
  elseif of == values.Dict then
    for _, key in ipairs(value.keys) do size = size + import.size(key) + import.size(values.lookup(value, key)) end
  end
  return size
end

-- ---------------------------------------------------------------- JSON text

local function bad(source, at)
  local line = select(2, source:sub(1, at - 1):gsub("\n", "")) + 1
  fail(("not JSON: line %d, byte %d of it"):format(line, at))
end

local escapes = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }

local function json_string(source, at)
  local out, from = {}, at + 1
  while true do
    local stop = source:find('["\\%c]', from)
    if not stop then bad(source, at) end
    out[#out + 1] = source:sub(from, stop - 1)
    local c = source:sub(stop, stop)
    if c == '"' then return table.concat(out), stop + 1 end
    if c ~= "\\" then
      if c == "\127" then out[#out + 1] = c else bad(source, stop) end
      from = stop + 1
    else
      local letter = source:sub(stop + 1, stop + 1)
      from = stop + 2
      if letter == "u" then
        local digits = source:match("^%x%x%x%x", stop + 2)
        local code = digits and tonumber(digits, 16) or bad(source, stop)
        from = stop + 6
        local low = code >= 0xD800 and code < 0xDC00 and source:match("^\\u([dD][c-fC-F]%x%x)", from)
        if low then
          code, from = 0x10000 + (code - 0xD800) * 1024 + tonumber(low, 16) - 0xDC00, from + 6
        end
        out[#out + 1] = text.character(code)
      else
        out[#out + 1] = escapes[letter] or bad(source, stop)
      end
    end
  end
end

local read

local function json_list(source, at, depth)
  local items = {}
  at = source:match("^%s*()", at + 1)
  if source:sub(at, at) == "]" then return values.sequence(items), at + 1 end
  while true do
    items[#items + 1], at = read(source, at, depth)
    local mark, after = source:match("^%s*([,%]])%s*()", at)
    if mark == "]" then return values.sequence(items), source:find("]", at, true) + 1 end
    if not mark then bad(source, at) end
    at = after
  end
end

local function json_object(source, at, depth)
  local dict = values.dict()
  at = source:match("^%s*()", at + 1)
  if source:sub(at, at) == "}" then return dict, at + 1 end
  while true do
    if source:sub(at, at) ~= '"' then bad(source, at) end
    local key, value
    key, at = json_string(source, at)
    at = source:match("^%s*:%s*()", at) or bad(source, at)
    value, at = read(source, at, depth)
    values.put(dict, key, value)
    local mark, after = source:match("^%s*([,}])%s*()", at)
    if mark == "}" then return dict, source:find("}", at, true) + 1 end
    if not mark then bad(source, at) end
    at = after
  end
end

local words = { { "true", true }, { "false", false }, { "null", values.none } }

function read(source, at, depth)
  budget.charge(1)
  budget.check_depth(depth)
  local c = source:sub(at, at)
  if c == '"' then return json_string(source, at) end
  if c == "{" then return json_object(source, at, depth + 1) end
  if c == "[" then return json_list(source, at, depth + 1) end
  for _, word in ipairs(words) do
    if source:sub(at, at + #word[1] - 1) == word[1] then return word[2], at + #word[1] end
  end
  local whole, after = source:match("^(%-?%d+)()", at)
  if not whole or whole:find "^%-?0%d" then bad(source, at) end
  local fraction = source:match("^%.%d+", after) or ""
  local exponent = source:match("^[eE][-+]?%d+", after + #fraction) or ""
  local number = tonumber(whole .. fraction .. exponent)
  if fraction == "" and exponent == "" then
    if math.abs(number) <= 2 ^ 53 then return number + 0, after end   -- -0 is 0
    return values.big(whole), after
  end
  return values.float(number), after + #fraction + #exponent
end

--- JSON text as a template sees it: the order of keys, null, and 1.0 beside 1 are kept.
---@param source string
---@return any
function import.json(source)
  local at = source:match "^%s*()"
  local value
  value, at = read(source, at, 1)
  if source:find("%S", at) then bad(source, source:find("%S", at)) end
  return value
end

return import
