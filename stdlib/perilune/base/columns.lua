-- Tables for people: left-aligned columns (numbers right), for terminals and pipes alike.
local columns = {}

-- Columns of a text on a terminal: its characters.
local function width_of(text) return select(2, text:gsub("[^\128-\191]", "")) end

-- Characters of the widest cell in each column.
local function widths_of(rows)
  local widths = {}
  for _, row in ipairs(rows) do
    for i, cell in ipairs(row) do widths[i] = math.max(widths[i] or 0, width_of(tostring(cell))) end
  end
  return widths
end

--- The most that a row of a table takes.
---@param rows any[][]
---@return integer
function columns.width(rows)
  local total = -2
  for _, width in ipairs(widths_of(rows)) do total = total + width + 2 end
  return math.max(total, 0)
end

local function characters(text)
  local list = {}
  for character in text:gmatch "[%z\1-\127\194-\255][\128-\191]*" do list[#list + 1] = character end
  return list
end

--- A text of at most so many characters, the middle left out.
---@param text string
---@param most integer
---@return string
function columns.shortened(text, most)
  local list = characters(text)
  if #list <= most then return text end
  local tail = math.floor((most - 1) * 0.4)
  return table.concat(list, "", 1, most - 1 - tail) .. "…" .. table.concat(list, "", #list - tail + 1)
end

--- Lines of a table as wide as a terminal: what does not fit beside the others stands below, under the first column again.
---@param rows any[][] the first one is the head
---@param width integer
---@return string
function columns.blocks(rows, width)
  local widths, blocks, from = widths_of(rows), {}, 2
  repeat
    local taken, to = widths[1] + (widths[from] and widths[from] + 2 or 0), from
    while widths[to + 1] and taken + widths[to + 1] + 2 <= width do
      to = to + 1
      taken = taken + widths[to] + 2
    end
    local part = {}
    for i, row in ipairs(rows) do
      part[i] = { row[1] }
      for k = from, to do part[i][#part[i] + 1] = row[k] end
    end
    blocks[#blocks + 1] = columns.text(part)
    from = to + 1
  until not widths[from]
  return table.concat(blocks, "\n\n")
end

--- Lines of a table.
---@param rows any[][]
---@param right table<integer, boolean>|nil columns that stand at the right, whatever they hold
---@return string
function columns.text(rows, right)
  local widths = widths_of(rows)
  local lines = {}
  for _, row in ipairs(rows) do
    local cells = {}
    for i, cell in ipairs(row) do
      cell = tostring(cell)
      local pad = (" "):rep(widths[i] - width_of(cell))
      cells[i] = (right and right[i] or cell:match "^[%d%.]+[%a%%/ ]*$") and pad .. cell or cell .. pad
    end
    lines[#lines + 1] = (table.concat(cells, "  "):gsub("%s+$", ""))
  end
  return table.concat(lines, "\n")
end

return columns
