-- Looking at tensors and models: t:show(), t:hist(), m:shapes().
local core = require "perilune.core"
local options = require "perilune.base.options"
local kind = require "perilune.base.kind"
local plot = require "perilune.show.plot"
local raise = require "perilune.base.raise"

local most_printed = 1000   -- bars, and the width of one

local Tensor = {}

--- Prints a tensor: dtype, named shape, device, statistics, and its corners.
---@return Tensor self
function Tensor:show()
  print(tostring(self))
  return self
end

-- Numbers of a tensor, at most `limit` of them.
local function flat(value, out, limit)
  if type(value) ~= "table" then
    out[#out + 1] = type(value) == "boolean" and (value and 1 or 0) or value
    return
  end
  for i = 1, #value do
    if #out >= limit then return end
    flat(value[i], out, limit)
  end
end

--- Prints how a tensor's values are spread, as bars.
---@param opts table|nil { bins=10, width=40 }
---@return Tensor self
function Tensor:hist(opts)
  kind.expect(self, "Tensor", "hist")
  local o = options.check(opts, { bins = "positive", width = "positive" }, "hist")
  local bins, width, values, counts = o.bins or 10, o.width or 40, {}, {}
  for name, n in pairs { bins = bins, width = width } do
    if n > most_printed then raise("option", "hist", ("option %s is %d; at most %d are printed"):format(name, n, most_printed)) end
  end
  flat(self:tolist(), values, 1e6)
  local least, most = math.huge, -math.huge
  for _, v in ipairs(values) do
    if v == v and math.abs(v) ~= math.huge then least, most = math.min(least, v), math.max(most, v) end
  end
  if least > most then
    print "  no numbers to count"
    return self
  end
  for i = 1, bins do counts[i] = 0 end
  local highest = 1
  for _, v in ipairs(values) do
    if v >= least and v <= most then
      local bin = most > least and math.min(bins, 1 + math.floor((v - least) / (most - least) * bins)) or 1
      counts[bin] = counts[bin] + 1
      highest = math.max(highest, counts[bin])
    end
  end
  for i = 1, bins do
    local from = least + (most - least) * (i - 1) / bins
    print(("%12.4g  %s %d"):format(from, ("#"):rep(math.floor(width * counts[i] / highest + 0.5)), counts[i]))
  end
  return self
end

--- Draws a tensor of one or two axes to an SVG file: a line, or a picture of its cells.
---@param path string
---@return Tensor self
function Tensor:plot(path)
  kind.expect(self, "Tensor", "plot")
  plot.write(self, path)
  return self
end

core.extend("Tensor", Tensor)

local Tokenizer = {}

local escapes = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ['"'] = '\\"', ["\\"] = "\\\\" }

-- A cut of a text on one line, in quotes; what is no printable character is written as numbers.
local function quoted(text)
  return '"' .. text:gsub('[%c"\\]', function(c) return escapes[c] or ("\\x%02X"):format(c:byte()) end) .. '"'
end

-- Characters of a text, which is what a column is as wide as.
local function width_of(text)
  return select(2, text:gsub("[^\128-\191]", ""))
end

local function padded(text, width)
  return text .. (" "):rep(width - width_of(text))
end

-- The texts of an input: a string, or { text=, pair= }.
local function texts_of(input)
  if type(input) == "table" then return input.text, input.pair end
  return input
end

local function explained(token, text, pair)
  local row = { tostring(token.id), quoted(token.piece):sub(2, -2), token.word and tostring(token.word) or "", "", "" }
  if not token.first then
    row[5] = "put in"
  else
    local source = token.pair and pair or text
    row[4] = (token.pair and "pair " or "") ..
      (token.last >= token.first and ("%d-%d"):format(token.first, token.last) or "none")
    row[5] = quoted(source:sub(token.first, token.last)) .. (token.special and "  special" or "")
  end
  return row
end

--- Prints every token of a text: id, piece, the word it is a part of, and the bytes it came from.
---@param input string|table a text, or { text=, pair= }
---@param opts table|nil as encode takes them
---@return Tokenizer self
function Tokenizer:explain(input, opts)
  kind.expect(self, "Tokenizer", "explain")
  local text, pair = texts_of(input)
  local rows = { { "id", "piece", "word", "bytes", "text" } }
  for i, token in ipairs(self:tokens(input, opts)) do rows[i + 1] = explained(token, text, pair) end
  local widths = { 0, 0, 0, 0 }
  for _, row in ipairs(rows) do
    for c = 1, 4 do widths[c] = math.max(widths[c], width_of(row[c])) end
  end
  for i, row in ipairs(rows) do
    local id = (" "):rep(widths[1] - #row[1]) .. row[1]
    local line = ("%4s  %s"):format(i > 1 and i - 1 or "#", id)
    for c = 2, 4 do line = line .. "  " .. padded(row[c], widths[c]) end
    print(line .. "  " .. row[5])
  end
  return self
end

core.extend("Tokenizer", Tokenizer)

local inspect = {}

--- "[token=7, hidden=768]": named sizes of a tensor.
---@param t Tensor
---@return string
function inspect.shape_text(t)
  local parts = {}
  for i, axis in ipairs(t.shape) do parts[i] = axis.name .. "=" .. tostring(axis.size) end
  return "[" .. table.concat(parts, ", ") .. "]"
end

-- "layers.0.mlp" → "layers.*.mlp" and 0.
local function collapse(name)
  local number
  local pattern = name:gsub("%.(%d+)%.", function(digits)
    number = number or tonumber(digits)
    return ".*."
  end, 1)
  return pattern, number
end

local function shapes_text(list)
  local width = 0
  for _, row in ipairs(list) do width = math.max(width, #row.name) end
  local lines = {}
  for i, row in ipairs(list) do
    lines[i] = ("%-" .. width .. "s  %-14s %s"):format(row.name, "[" .. table.concat(row.sizes, ", ") .. "]",
      row.count > 1 and "x " .. row.count or ""):gsub("%s+$", "")
  end
  return table.concat(lines, "\n")
end

--- Stored modules of a model's state, layers that agree as one row.
---@param s table
---@return table[] prints as a table
function inspect.shapes(s)
  local rows, list = {}, {}
  for _, name in ipairs(s.checkpoint:names()) do
    local sizes = s.checkpoint:sizes(name)
    if sizes then
      local pattern, number = collapse(name)
      local key = pattern .. " " .. table.concat(sizes, "x")
      local elements = 1
      for _, size in ipairs(sizes) do elements = elements * size end
      local row = rows[key]
      if not row then
        row = { name = pattern, sizes = sizes, count = 0, elements = 0, first = number or -1 }
        rows[key] = row
        list[#list + 1] = row
      end
      row.count, row.elements = row.count + 1, row.elements + elements
    end
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return setmetatable(list, { __tostring = shapes_text })
end

return inspect
