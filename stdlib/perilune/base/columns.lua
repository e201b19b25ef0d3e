-- Tables for people: left-aligned columns (numbers right), for terminals and pipes alike.
local columns = {}

--- Lines of a table.
---@param rows any[][]
---@return string
function columns.text(rows)
  local widths = {}
  for _, row in ipairs(rows) do
    for i, cell in ipairs(row) do widths[i] = math.max(widths[i] or 0, #tostring(cell)) end
  end
  local lines = {}
  for _, row in ipairs(rows) do
    local cells = {}
    for i, cell in ipairs(row) do
      cell = tostring(cell)
      local pad = (" "):rep(widths[i] - #cell)
      cells[i] = cell:match "^[%d%.]+[%a%%/ ]*$" and pad .. cell or cell .. pad
    end
    lines[#lines + 1] = (table.concat(cells, "  "):gsub("%s+$", ""))
  end
  return table.concat(lines, "\n")
end

return columns
