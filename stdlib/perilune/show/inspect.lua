-- Looking at tensors and models: t:show(), t:hist(), m:shapes().
local core = require "perilune.core"
local options = require "perilune.base.options"
local kind = require "perilune.base.kind"
local plot = require "perilune.show.plot"
local terminal = require "perilune.show.terminal"
local tensor_view = require "perilune.show.tensor_view"
local raise = require "perilune.base.raise"

local most_printed = 1000   -- bars, and the width of one

local Tensor = {}

local show_spec = { rows = "positive", columns = "positive", width = "positive", heat = { "none", "auto", "ascii", "256", "24bit" } }

--- Prints a tensor: dtype, named shape, device, the statistics of all elements, and its numbers in columns that line up, as
--- many as the terminal is wide; on a terminal with colours a heat map of the two last axes below. Only what is shown is
--- copied from a device.
---
---     local t = pl.tensor({ { 1, -2 }, { 3, 4 } }, { axes = { "row", "col" } })
---     print(t:show() == t)                                                  --> true
---@param opts table|nil { rows=11 (lines of numbers), columns= (numbers in a line), width= (of the page), heat="auto"|"none"|"ascii"|"256"|"24bit" }
---@return Tensor self
function Tensor:show(opts)
  kind.expect(self, "Tensor", "show")
  local o = options.check(opts, show_spec, "show")
  local heat = o.heat or "auto"
  if heat == "auto" then
    heat = terminal.colours()
    if heat == "ascii" then heat = "none" end
  end
  print(tensor_view.text(self, { rows = o.rows, columns = o.columns, width = o.width, heat = heat }))
  return self
end

local chunk = 65536   -- elements that are read at a time

-- Calls `each` with every number of a tensor, a part at a time.
local function for_each(t, each)
  local function leaf(value)
    if type(value) == "table" then
      for i = 1, #value do leaf(value[i]) end
    else
      each(type(value) == "boolean" and (value and 1 or 0) or value)
    end
  end
  local elements = 1
  for _, axis in ipairs(t.shape) do elements = elements * axis.size end
  if elements <= chunk then return leaf(t:tolist()) end
  local axis = t.shape[1]
  local from = (axis.name == "vocab" or axis.name == "class") and 0 or 1
  local step = math.max(1, math.floor(chunk / (elements / axis.size)))
  for first = 1, axis.size, step do
    local last = math.min(axis.size, first + step - 1)
    if step == 1 and t.rank > 1 then
      for_each(t:at { [axis.name] = first + from - 1 }, each)
    else
      leaf(t:at({ [axis.name] = { first + from - 1, last + from - 1 } }):tolist())
    end
  end
end

--- Prints how a tensor's values are spread, as bars; every element is counted.
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(table.concat(t:hist { bins = 5 }:tolist(), " "))                --> -1 0 4
---@param opts table|nil { bins=10, width=40 }
---@return Tensor self
function Tensor:hist(opts)
  kind.expect(self, "Tensor", "hist")
  local o = options.check(opts, { bins = "positive", width = "positive" }, "hist")
  local bins, width, counts = o.bins or 10, o.width or 40, {}
  for name, n in pairs { bins = bins, width = width } do
    if n > most_printed then raise("option", "hist", ("option %s is %d; at most %d are printed"):format(name, n, most_printed)) end
  end
  local least, most, strange = math.huge, -math.huge, 0
  for_each(self, function(v)
    if v == v and math.abs(v) ~= math.huge then least, most = math.min(least, v), math.max(most, v) else strange = strange + 1 end
  end)
  if least > most then
    print "  no numbers to count"
    return self
  end
  for i = 1, bins do counts[i] = 0 end
  for_each(self, function(v)
    if v >= least and v <= most then
      local bin = most > least and math.min(bins, 1 + math.floor((v - least) / (most - least) * bins)) or 1
      counts[bin] = counts[bin] + 1
    end
  end)
  local highest = 1
  for i = 1, bins do highest = math.max(highest, counts[i]) end
  for i = 1, bins do
    local from = least + (most - least) * (i - 1) / bins
    print(("%12.4g  %s %d"):format(from, ("#"):rep(math.floor(width * counts[i] / highest + 0.5)), counts[i]))
  end
  if strange > 0 then print(("%12s  %d"):format("nan or inf", strange)) end
  return self
end

--- Draws a tensor of one or two axes to a file, SVG or PNG by the name's ending: a line, or a picture of its cells with a
--- scale; with axes, ticks, labels and a title. Where there are more than 40,000 cells, each that is drawn is the mean of
--- several, and the title says so.
---
---     local path = os.tmpname() .. ".png"
---     pl.tensor({ { 1, 2 }, { 3, 4 } }, { axes = { "row", "column" } }):plot(path, { title = "four", rows = { "a", "b" } })
---     print(pl.files.exists(path))                                          --> true
---     os.remove(path)
---@param path string
---@param opts table|nil { title=, rows=labels, columns=labels, aspect=1 (width of a cell by its height) }
---@return Tensor self
function Tensor:plot(path, opts)
  kind.expect(self, "Tensor", "plot")
  plot.write(self, path, opts)
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
---
---     local tok = pl.tokenizer "scripts/models/reviews"
---     print(tok:explain "not bad" == tok)                                   --> true
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

local Batch = {}

local padding_mark = "·"

-- The pieces of a row, ids where it does not know its tokenizer.
local function pieces_of(row)
  local fine, tokens = pcall(function() return row:tokens() end)
  local list = {}
  for i, id in ipairs(row.ids) do list[i] = fine and tokens[i] and tokens[i].piece or tostring(id) end
  return list
end

--- Prints the rows below each other as a grid of pieces, each column a position, with the padding that a padded layout adds
--- as dots; rows that are wider than the page are cut, and that is said.
---
---     local b = pl.batch { { 5, 6, 7 }, { 8 } }
---     print(b:show() == b)                                                  --> true
---@param opts table|nil { side="right"|"left" (where padding stands), width= (of the page) }
---@return Batch self
function Batch:show(opts)
  kind.expect(self, "Batch", "show")
  local o = options.check(opts, { side = { "right", "left" }, width = "positive" }, "show")
  local room, grid, longest = (o.width or terminal.width()) - 12, {}, 0
  for i, row in self:rows() do
    grid[i] = pieces_of(row)
    longest = math.max(longest, #grid[i])
  end
  local widths, used, columns = {}, 0, 0
  for _, row in ipairs(grid) do
    local missing = longest - #row
    if missing > 0 then
      local at = o.side == "left" and 1 or #row + 1
      for _ = 1, missing do table.insert(row, at, padding_mark) end
    end
  end
  for c = 1, longest do
    widths[c] = 1
    for _, row in ipairs(grid) do widths[c] = math.max(widths[c], width_of(row[c])) end
    if used + widths[c] + 1 > room and c > 1 then break end
    used, columns = used + widths[c] + 1, c
  end
  local lines, filled = {}, 0
  for i, row in ipairs(grid) do
    local cells = {}
    for c = 1, columns do cells[c] = padded(row[c], widths[c]) end
    local length = self.lengths[i]
    filled = filled + longest - length
    lines[i] = (("%4d (%d) "):format(i, length) .. table.concat(cells, " ")):gsub("%s+$", "") .. (columns < longest and " …" or "")
  end
  lines[#lines + 1] = ("%d rows, %d positions, %d of them padding%s"):format(#grid, #grid * longest, filled,
    columns < longest and ("; %d of %d columns are shown"):format(columns, longest) or "")
  print(table.concat(lines, "\n"))
  return self
end

core.extend("Batch", Batch)

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
