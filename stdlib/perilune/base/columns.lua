-- Tables for people: left-aligned columns (numbers right), for terminals and pipes alike.
local columns = {}

-- Columns of a text on a terminal: its characters.
local function width_of(text) return select(2, text:gsub("[^\128-\191]", "")) end

--- Lines of a table.
---@param rows any[][]
---@param right table<integer, boolean>|nil columns that stand at the right, whatever they hold
---@return string
function columns.text(rows, right)
  local widths = {}
  for _, row in ipairs(rows) do
    for i, cell in ipairs(row) do widths[i] = math.max(widths[i] or 0, width_of(tostring(cell))) end
  end
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
