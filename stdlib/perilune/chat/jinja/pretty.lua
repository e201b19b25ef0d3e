-- Python's pprint.pformat: one line where it fits in 80 characters, else an entry a line; keys sorted.
local budget = require "perilune.chat.jinja.budget"
local text = require "perilune.chat.jinja.text"
local values = require "perilune.chat.jinja.values"
local printing = require "perilune.chat.jinja.printing"

local pretty = {}

local class = values.class
local width = 80
local brackets = { list = { "[", "]" }, tuple = { "(", ")" } }

local function sorted_copy(value, depth)
  budget.check_depth(depth)
  local of = class(value)
  if of == values.Dict then
    local out = values.dict()
    local comparable, keys = pcall(values.sorted, value.keys, values.less)
    for _, key in ipairs(comparable and keys or value.keys) do values.put(out, key, sorted_copy(values.lookup(value, key), depth + 1)) end
    return out
  elseif of == values.Sequence and brackets[value.kind] then
    local items = {}
    for i, item in ipairs(value.items) do items[i] = sorted_copy(item, depth + 1) end
    return values.sequence(items, value.kind)
  end
  return value
end

-- `indent` characters stand before the value, `after` follow it.
local function format(value, indent, after)
  local shown, of = printing.repr(value), class(value)
  local is_list = of == values.Sequence and brackets[value.kind] ~= nil
  if text.length(shown) <= width - indent - after or not is_list and of ~= values.Dict then return shown end
  local entries, out = is_list and value.items or value.keys, {}
  for i, entry in ipairs(entries) do
    local closing = i == #entries and after + 1 or 1
    if is_list then
      out[i] = format(entry, indent + 1, closing)
    else
      local key = printing.repr(entry) .. ": "
      out[i] = key .. format(values.lookup(value, entry), indent + 1 + text.length(key), closing)
    end
  end
  local pair = is_list and brackets[value.kind] or { "{", "}" }
  local single = is_list and value.kind == "tuple" and #entries == 1 and "," or ""
  return pair[1] .. table.concat(out, ",\n" .. (" "):rep(indent + 1)) .. single .. pair[2]
end

--- A value as pprint shows it.
---@param value any
---@return string
function pretty.format(value) return format(sorted_copy(value, 1), 0, 0) end

return pretty
