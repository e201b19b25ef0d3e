-- The numbers of a tensor as columns that line up, elided by the width of the terminal; only what is shown is read.
local heat_map = require "perilune.show.heat_map"
local terminal = require "perilune.show.terminal"

local tensor_view = {}

local default_rows, cell_width = 11, 10
local most_maps, most_map_rows, most_map_cells = 4, 4096, 2 ^ 20

local function first_of(axis) return (axis.name == "vocab" or axis.name == "class") and 0 or 1 end

-- Positions 1..size with the middle left out where there are more than `most`: a list, and after which the gap is.
local function chosen(size, most)
  local list = {}
  if size <= most then
    for i = 1, size do list[i] = i end
    return list
  end
  local front = math.ceil(most / 2)
  for i = 1, front do list[i] = i end
  for i = size - (most - front) + 1, size do list[#list + 1] = i end
  return list, front
end

local function value_text(v)
  if type(v) == "boolean" then return tostring(v) end
  if v ~= v then return "nan" end
  if v == math.floor(v) and math.abs(v) < 1e7 then return ("%d"):format(v) end
  return ("%.4g"):format(v)
end

-- The numbers of one line at the chosen positions.
local function line_values(line, axis, columns, gap)
  if not gap then return line:tolist() end
  local from = first_of(axis) - 1
  local values = line:at({ [axis.name] = { columns[1] + from, columns[gap] + from } }):tolist()
  if gap < #columns then
    local rest = line:at({ [axis.name] = { columns[gap + 1] + from, columns[#columns] + from } }):tolist()
    for _, v in ipairs(rest) do values[#values + 1] = v end
  end
  return values
end

-- Where the n-th line of a tensor of several axes is: { axis = position }, and in words.
local function place_of(shape, n)
  local where, words, rest = {}, {}, n - 1
  for i = shape.rank - 1, 1, -1 do
    local axis = shape.axes[i]
    local at = rest % axis.size + first_of(axis)
    where[axis.name], words[i], rest = at, axis.name .. "=" .. at, math.floor(rest / axis.size)
  end
  return where, table.concat(words, " ")
end

local function aligned(rows)
  local widths = {}
  for _, row in ipairs(rows) do
    for c, cell in ipairs(row) do widths[c] = math.max(widths[c] or 0, #cell) end
  end
  local lines = {}
  for r, row in ipairs(rows) do
    local cells = {}
    for c, cell in ipairs(row) do cells[c] = c == 1 and cell .. (" "):rep(widths[c] - #cell) or (" "):rep(widths[c] - #cell) .. cell end
    lines[r] = "  " .. table.concat(cells, "  "):gsub("%s+$", "")
  end
  return lines
end

-- Lines of numbers, and the head with the positions of the last axis.
local function numbers(t, o)
  local axes, lines = {}, 1
  for i, axis in ipairs(t.shape) do axes[i] = axis end
  for i = 1, #axes - 1 do lines = lines * axes[i].size end
  local shape, last = { axes = axes, rank = #axes }, axes[#axes]
  local columns, gap = chosen(last.size, o.columns or math.max(2, math.floor((o.width - 14) / cell_width)))
  local shown, row_gap = chosen(lines, o.rows or default_rows)
  local head = { #axes > 1 and "" or last.name .. " =" }
  if #axes > 1 then head[1] = last.name .. " =" end
  for i, c in ipairs(columns) do
    head[#head + 1] = tostring(c + first_of(last) - 1)
    if i == gap then head[#head + 1] = "..." end
  end
  local rows = { head }
  for i, n in ipairs(shown) do
    local where, words = place_of(shape, n)
    local values = line_values(#axes > 1 and t:at(where) or t, last, columns, gap)
    local row = { words }
    for k, v in ipairs(values) do
      row[#row + 1] = value_text(v)
      if k == gap then row[#row + 1] = "..." end
    end
    rows[#rows + 1] = row
    if i == row_gap then rows[#rows + 1] = { "..." } end
  end
  local out = aligned(rows)
  local left = lines - #shown
  if left > 0 or gap then
    out[#out + 1] = ("  (%d of %d lines, %d of %d columns; t:show{ rows=, columns= } shows more)"):format(#shown, lines, #columns, last.size)
  end
  return out
end

-- A picture of each matrix of the two last axes.
local function maps(t, o)
  local axes, count = {}, 1
  for i, axis in ipairs(t.shape) do axes[i] = axis end
  for i = 1, #axes - 2 do count = count * axes[i].size end
  local cells = axes[#axes].size * (axes[#axes - 1] and axes[#axes - 1].size or 1)
  if cells > most_map_cells or (axes[#axes - 1] and axes[#axes - 1].size or 1) > most_map_rows then
    return { ("  (no picture of %d cells: pick a part with at, or t:plot(file))"):format(cells) }
  end
  local shape, out = { axes = axes, rank = #axes - 1 }, {}
  for n = 1, math.min(count, most_maps) do
    local where, words = place_of(shape, n)
    local part = #axes > 2 and t:at(where) or t
    local rows = part:to("f32"):tolist()
    if #axes == 1 then rows = { rows } end
    if words ~= "" then out[#out + 1] = words end
    out[#out + 1] = heat_map.text(rows, { colours = o.colours, width = o.width, height = 16 })
  end
  if count > most_maps then out[#out + 1] = ("(%d of %d pictures; pick one with at)"):format(most_maps, count) end
  return out
end

--- A tensor as text: what it is, its statistics, its numbers in columns, and where wanted a heat map.
---@param t Tensor
---@param opts table { rows=, columns= (of numbers), width=, heat="none"|"ascii"|"256"|"24bit" }
---@return string
function tensor_view.text(t, opts)
  local whole = tostring(t)
  local head = whole:match "^[^\n]*"
  if t.traced or t.rank == 0 or whole:find "%(freed%)" or whole:find "%(no values%)" then return whole end
  for _, axis in ipairs(t.shape) do if axis.size == 0 then return whole end end
  local o = { rows = opts.rows, columns = opts.columns, width = opts.width or terminal.width(), colours = opts.heat }
  local lines = { head }
  for _, line in ipairs(numbers(t, o)) do lines[#lines + 1] = line end
  if opts.heat and opts.heat ~= "none" and t.dtype ~= "bool" then
    for _, line in ipairs(maps(t, o)) do lines[#lines + 1] = line end
  end
  return table.concat(lines, "\n")
end

return tensor_view
