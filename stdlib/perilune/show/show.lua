-- Values as a session prints them: tensors with their shape and edges, tables one level deep.
local core = require "perilune.core"
local kind = require "perilune.base.kind"
local options = require "perilune.base.options"
local names_of = require "perilune.base.names_of"

local show = {}

-- What is shown of a value.
local defaults = { width = 96, entries = 24, text = 2000, depth = 1 }
local most_opened = 4   -- tables in a table of so few are opened, too
local spec = { width = "positive", entries = "positive", text = "positive", depth = "count" }

local escapes = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ['"'] = '\\"', ["\\"] = "\\\\" }

local function quoted(text, limit)
  local rest = ""
  if #text > limit then
    local cut = limit
    while cut > 1 and text:byte(cut + 1) >= 0x80 and text:byte(cut + 1) < 0xC0 do cut = cut - 1 end
    text, rest = text:sub(1, cut), (" … (%d bytes)"):format(#text)
  end
  return '"' .. text:gsub('[%c"\\]', function(c) return escapes[c] or ("\\%d"):format(c:byte()) end) .. '"' .. rest
end

local function function_text(f)
  local info = debug.getinfo(f, "S")
  if info.what == "C" then return "function (built in)" end
  return ("function (%s:%d)"):format(info.short_src:gsub("^stdlib/", ""), info.linedefined)
end

local function has_tostring(value)
  local meta = getmetatable(value)
  return type(meta) == "table" and meta ~= core.answer_metatable and rawget(meta, "__tostring") ~= nil
end

local function is_plain(value) return type(value) == "table" and not has_tostring(value) end

local function first_line(text)
  local line, rest = text:match "^([^\n]*)(\n?)"
  return line, rest ~= ""
end

local function key_text(key)
  if type(key) == "string" then return key:match "^[%a_][%w_]*$" and key or "[" .. quoted(key, 60) .. "]" end
  return "[" .. tostring(key) .. "]"
end

-- Keys of a table: 1..n, then the others; names before numbers, sorted.
local function keys_of(t)
  local n, others = #t, {}
  for key in pairs(t) do
    local in_list = type(key) == "number" and key >= 1 and key <= n and key % 1 == 0
    local private = type(key) == "string" and key:find "_$"
    if not in_list and not private then others[#others + 1] = key end
  end
  table.sort(others, function(a, b)
    if type(a) == type(b) and (type(a) == "string" or type(a) == "number") then return a < b end
    return type(a) == "string" and type(b) ~= "string" or type(a) < type(b)
  end)
  return n, others
end

local entry_text

-- Tables that are being written: one that holds itself is marked where it comes again.
local open_tables = {}

-- "3 strings", "5 tensors", "2 entries": how many, and of what where all are of one kind.
local function count_text(t, n, others)
  local count, what = n + #others, nil
  local function look(value)
    local one = kind.of(value) or type(value)
    what = (what == nil or what == one) and one or false
  end
  for i = 1, n do look(t[i]) end
  for _, key in ipairs(others) do look(t[key]) end
  if not what or what == "nil" then return ("%d entries"):format(count) end
  return ("%d %s%s"):format(count, what == "userdata" and "object" or what, count == 1 and "" or "s")
end

-- All of a small table on one line, or nil when it does not fit.
local function inline(t, room, depth, entries)
  local n, others = keys_of(t)
  if n + #others > entries then return nil end
  local parts = {}
  open_tables[t] = true
  for i = 1, n do parts[#parts + 1] = entry_text(t[i], depth, entries) end
  for _, key in ipairs(others) do parts[#parts + 1] = key_text(key) .. " = " .. entry_text(t[key], depth, entries) end
  open_tables[t] = nil
  local text = #parts > 0 and "{ " .. table.concat(parts, ", ") .. " }" or "{}"
  return #text <= room and not text:find "\n" and text or nil
end

-- A value inside a table.
function entry_text(value, depth, entries)
  if type(value) == "string" then return quoted(value, 200) end
  if type(value) == "function" then return function_text(value) end
  if is_plain(value) then
    if open_tables[value] then return "{ … again }" end
    local text = (depth > 0 or next(value) == nil) and inline(value, 60, depth - 1, entries)
    if text then return text end
    local n, others = keys_of(value)
    if n > 0 and #others == 0 then
      local parts = {}
      for i = 1, math.min(n, 8) do
        if type(value[i]) ~= "number" then break end
        parts[i] = tostring(value[i])
      end
      if #parts == 0 then return ("{ … %s }"):format(count_text(value, n, others)) end
      if #parts == n then return "{ " .. table.concat(parts, ", ") .. " }" end
      return ("{ %s, … %d numbers }"):format(table.concat(parts, ", "), n)
    end
    return ("{ … %s }"):format(count_text(value, n, others))
  end
  return (first_line(tostring(value)))
end

local function table_text(t, limits, depth, indent)
  local n, others = keys_of(t)
  local few = depth == 1 and n + #others <= most_opened   -- their entries are shown in full
  local text = inline(t, limits.width - #indent, depth, limits.entries)
  if text and not ((few or depth > 1) and text:find "{ … %d") then return text end
  local name = kind.of(t)
  local lines, shown = { name and name .. " {" or "{" }, 0
  local function add(label, value)
    shown = shown + 1
    if shown > limits.entries then return end
    local deeper = (depth > 1 or few) and is_plain(value) and next(value) ~= nil and not open_tables[value]
    local entry = deeper and table_text(value, limits, depth - 1, indent .. "  ") or entry_text(value, depth, limits.entries)
    lines[#lines + 1] = indent .. "  " .. label .. entry .. ","
  end
  open_tables[t] = true
  for i = 1, n do add(n > 1 and ("[%d] "):format(i) or "", t[i]) end
  for _, key in ipairs(others) do add(key_text(key) .. " = ", t[key]) end
  open_tables[t] = nil
  if shown > limits.entries then lines[#lines + 1] = ("%s  … %d more"):format(indent, shown - limits.entries) end
  lines[#lines + 1] = indent .. "}"
  return table.concat(lines, "\n")
end

--- A value as text, for a person: what a session prints.
---
---     print(pl.show { 1, 2, name = "x" })                                   --> { 1, 2, name = "x" }
---     print(pl.show("a long text", { text = 6 }))                           --> "a long" … (11 bytes)
---@param value any
---@param opts table|nil { width=96 (of a line, in bytes), entries=24 (of a table), text=2000 (bytes of a text), depth=1 (of tables inside) }
---@return string
function show.show(value, opts)
  local limits = setmetatable(options.pick(options.check(opts, spec, "show"), names_of(spec)), { __index = defaults })
  if type(value) == "string" then return quoted(value, limits.text) end
  if type(value) == "function" then return function_text(value) end
  if not is_plain(value) then return tostring(value) end
  local fine, text = pcall(table_text, value, limits, limits.depth, "")
  for one in pairs(open_tables) do open_tables[one] = nil end   -- what a __tostring raised leaves
  if not fine then error(text, 0) end
  return text
end

--- What a value is, in a few words, for lists of names.
---@param value any
---@return string what
---@return number|nil bytes
function show.summary(value)
  local name = kind.of(value) or (type(value) == "userdata" and core.type(value)) or type(value)
  if name == "Tensor" then
    local fine, bytes = pcall(function() return value.bytes end)
    return (first_line(tostring(value)):gsub("  min .*$", "")), fine and bytes or nil
  end
  if name == "Model" then
    local fine, memory = pcall(value.memory, value)
    return first_line(tostring(value)), fine and memory.weights + memory.cache or nil
  end
  if type(value) == "table" and is_plain(value) then
    local n, others = keys_of(value)
    return ("table of %d"):format(n + #others), nil
  end
  if type(value) == "string" then return "string " .. quoted(value, 50), #value end
  if type(value) == "function" then return function_text(value), nil end
  return (first_line(tostring(value))), nil
end

return show
