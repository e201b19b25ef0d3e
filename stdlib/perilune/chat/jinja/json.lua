-- Values as JSON text, as Python's json.dumps writes it.
local budget = require "perilune.chat.jinja.budget"
local text = require "perilune.chat.jinja.text"
local values = require "perilune.chat.jinja.values"
local printing = require "perilune.chat.jinja.printing"

local json = {}

local fail, class, none = budget.fail, values.class, values.none

local json_quoted = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ["\b"] = "\\b", ["\f"] = "\\f" }

local function json_text(s, ascii)
  budget.charge_bytes(#s)
  local out = s:gsub('[%z\1-\31"\\]', function(c) return json_quoted[c] or ("\\u%04x"):format(c:byte()) end)
  if ascii and out:find "[\127-\255]" then
    out = out:gsub("[\194-\244][\128-\191]+", function(c)
      local code = text.code(c)
      if code < 0x10000 then return ("\\u%04x"):format(code) end
      code = code - 0x10000
      return ("\\u%04x\\u%04x"):format(0xD800 + math.floor(code / 1024), 0xDC00 + code % 1024)
    end)
  end
  return '"' .. out .. '"'
end

local function json_scalar(value, options)
  value = values.plain(value)
  local of = class(value)
  if of == "string" then return json_text(value, options.ascii) end
  if of == "number" then return printing.integer(value) end
  if of == values.Big then return value.digits end
  if of == "boolean" then return value and "true" or "false" end
  if value == none then return "null" end
  if of ~= values.Float then return nil end
  local number = value.value
  if number ~= number then return "NaN" end
  if math.abs(number) == math.huge then return number > 0 and "Infinity" or "-Infinity" end
  return printing.float(number)
end

local function json_key(key, options)
  key = values.plain(key)
  if type(key) == "string" then return json_text(key, options.ascii) end
  local shown = json_scalar(key, options)
  if not shown then fail(("keys must be str, int, float, bool or None, not %s"):format(values.type_name(key))) end
  return '"' .. shown .. '"'
end

local function json_write(value, options, level, out)
  budget.charge(1)
  local scalar = json_scalar(value, options)
  if scalar then
    out[#out + 1] = scalar
    return
  end
  local of = class(value)
  local is_dict = of == values.Dict
  if not is_dict and not (of == values.Sequence and (value.kind == "list" or value.kind == "tuple")) then
    fail(("Object of type %s is not JSON serializable"):format(values.type_name(value)))
  end
  budget.check_depth(level)
  local entries = is_dict and value.keys or value.items
  if #entries == 0 then
    out[#out + 1] = is_dict and "{}" or "[]"
    return
  end
  if is_dict and options.sorted then entries = values.sorted(entries, values.less) end
  local inner = options.indent and "\n" .. options.indent:rep(level) or ""
  for i, entry in ipairs(entries) do
    out[#out + 1] = i == 1 and (is_dict and "{" or "[") .. inner or options.comma .. inner
    if is_dict then
      out[#out + 1] = json_key(entry, options) .. options.colon
      json_write(values.lookup(value, entry), options, level + 1, out)
    else
      json_write(entry, options, level + 1, out)
    end
  end
  out[#out + 1] = (options.indent and "\n" .. options.indent:rep(level - 1) or "") .. (is_dict and "}" or "]")
end

--- JSON as Python's json.dumps writes it.
---@param value any
---@param options table { ascii=, indent= the text of one level or nil, comma=, colon=, sorted= }
---@return string
function json.write(value, options)
  local out = {}
  json_write(values.defined(value), options, 1, out)
  local size = 0
  for _, part in ipairs(out) do size = size + #part end
  budget.charge_bytes(size)
  return table.concat(out)
end

return json
