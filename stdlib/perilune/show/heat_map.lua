-- A matrix of numbers as a picture of characters: half blocks in colours, or shades where there are none.
local colour_scale = require "perilune.show.colour_scale"
local terminal = require "perilune.show.terminal"

local heat_map = {}

--- Whether a number is neither NaN nor infinite.
---@param v number
---@return boolean
function heat_map.finite(v) return v == v and math.abs(v) ~= math.huge end

--- Least and most of the finite numbers.
---@param rows number[][]
---@return number least
---@return number most
function heat_map.extent(rows)
  local least, most = math.huge, -math.huge
  for _, row in ipairs(rows) do
    for _, v in ipairs(row) do if heat_map.finite(v) then least, most = math.min(least, v), math.max(most, v) end end
  end
  if least > most then return 0, 1 end
  return least, most
end

--- Means of blocks of `high` rows and `wide` columns; fewer at the ends. `rows` itself where a block is one number.
---@param rows number[][]
---@param high integer
---@param wide integer
---@return number[][]
function heat_map.block_means(rows, high, wide)
  if high == 1 and wide == 1 then return rows end
  local out = {}
  for r = 1, #rows, high do
    local line = {}
    for c = 1, #rows[1], wide do
      local sum, n = 0, 0
      for i = r, math.min(#rows, r + high - 1) do
        for j = c, math.min(#rows[1], c + wide - 1) do sum, n = sum + rows[i][j], n + 1 end
      end
      line[#line + 1] = sum / n
    end
    out[#out + 1] = line
  end
  return out
end

-- Means of blocks, where there are more numbers than places; and how large the blocks are.
local function shrunk(rows, most_rows, most_columns)
  local high, wide = math.max(1, math.ceil(#rows / most_rows)), math.max(1, math.ceil(#(rows[1] or {}) / most_columns))
  return heat_map.block_means(rows, high, wide), high, wide
end

-- Text of a background and a foreground colour.
local function paint(colours, foreground, background, text)
  if colours == "24bit" then
    local fore, back = ("38;2;%d;%d;%d"):format(colour_scale.rgb(foreground)), ("48;2;%d;%d;%d"):format(colour_scale.rgb(background))
    return ("\27[%s;%sm%s"):format(fore, back, text)
  end
  return ("\27[38;5;%d;48;5;%dm%s"):format(colour_scale.of_256(foreground), colour_scale.of_256(background), text)
end

-- Characters of a text, at most n of them.
local function characters(text, n)
  local list = {}
  for c in text:gmatch "[%z\1-\127\194-\244][\128-\191]*" do
    if #list == n then break end
    list[#list + 1] = c:find "^%c$" and "?" or c
  end
  return list
end

local function padded(text, width)
  local list = characters(text, width)
  return (" "):rep(width - #list) .. table.concat(list)
end

-- Column labels from top to bottom, one character a line.
local function column_lines(labels, cell, before)
  local most, columns = 0, {}
  for i, label in ipairs(labels) do
    columns[i] = characters(label, 8)
    most = math.max(most, #columns[i])
  end
  local lines = {}
  for line = 1, most do
    local parts = {}
    for i, column in ipairs(columns) do
      local c = column[line - (most - #column)]
      parts[i] = (c or " ") .. (" "):rep(cell - 1)
    end
    lines[line] = ((" "):rep(before) .. table.concat(parts)):gsub("%s+$", "")
  end
  return lines
end

-- One line a row, with its label; two characters a cell.
local function labelled(parts, o)
  local wide = 0
  for _, label in ipairs(o.rows) do wide = math.max(wide, #characters(label, 16)) end
  local lines = o.columns and column_lines(o.columns, 2, wide + 1) or {}
  for r, row in ipairs(parts) do
    local cells = {}
    for c, part in ipairs(row) do
      cells[c] = o.colours == "ascii" and colour_scale.shade(part):rep(2) or paint(o.colours, part, part, "  ")
    end
    lines[#lines + 1] = padded(o.rows[r] or "", wide) .. " " .. table.concat(cells) .. (o.colours == "ascii" and "|" or "\27[0m")
  end
  return lines
end

-- Two rows a line, in half blocks; one row a line in shades.
local function plain(parts, colours)
  local lines = {}
  if colours == "ascii" then
    for r, row in ipairs(parts) do
      local cells = {}
      for c, part in ipairs(row) do cells[c] = colour_scale.shade(part) end
      lines[r] = "|" .. table.concat(cells) .. "|"
    end
    return lines
  end
  for r = 1, #parts, 2 do
    local cells = {}
    for c, part in ipairs(parts[r]) do
      local below = parts[r + 1] and parts[r + 1][c]
      cells[c] = below and paint(colours, part, below, "▀") or "\27[0m" .. paint(colours, part, 0, "▀")
    end
    lines[#lines + 1] = table.concat(cells) .. "\27[0m"
  end
  return lines
end

local function number(v) return (("%.4g"):format(v)) end

--- The picture as text. Where there are more numbers than places, each place shows the mean of a block, and that is said.
---@param rows number[][]
---@param opts table|nil { rows=, columns= (labels), least=, most= (of the scale), colours="24bit"|"256"|"ascii", width=, height= }
---@return string
function heat_map.text(rows, opts)
  local o = opts or {}
  local colours = o.colours or terminal.colours()
  local least, most = heat_map.extent(rows)
  least, most = o.least or least, o.most or most
  local width = math.max(8, (o.width or terminal.width()) - 4)
  local labels = o.rows ~= nil
  local shown, high, wide = rows, 1, 1
  if labels then width = math.floor((width - 18) / 2) end
  if labels and (#rows > 64 or #(rows[1] or {}) > width) then labels = false end
  if not labels then shown, high, wide = shrunk(rows, (o.height or 24) * (colours == "ascii" and 1 or 2), width) end
  local parts = {}
  for r, row in ipairs(shown) do
    parts[r] = {}
    for c, v in ipairs(row) do
      local span = most > least and (v - least) / (most - least) or 0.5
      parts[r][c] = v ~= v and v or math.max(0, math.min(1, span))
    end
  end
  local lines = labels and labelled(parts, { rows = o.rows, columns = o.columns, colours = colours }) or plain(parts, colours)
  local scale, tiny = {}, 1e-6 * math.max(math.abs(least), math.abs(most))
  if math.abs(least) < tiny then least = 0 end
  for i = 0, 9 do scale[i + 1] = colours == "ascii" and colour_scale.shade(i / 9) or paint(colours, i / 9, i / 9, " ") end
  lines[#lines + 1] = ("%s %s%s %s%s"):format(number(least), table.concat(scale), colours == "ascii" and "" or "\27[0m", number(most),
    (high > 1 or wide > 1) and ("  each place is the mean of %d x %d"):format(high, wide) or "")
  return table.concat(lines, "\n")
end

return heat_map
