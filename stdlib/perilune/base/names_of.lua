--- The texts among a table's keys, sorted: for lists of what there is, and for the nearest of them.
---@param t table
---@param left_out string|nil a pattern of names that do not count
---@return string[]
local function names_of(t, left_out)
  local names = {}
  for name in pairs(t) do
    if type(name) == "string" and not (left_out and name:find(left_out)) then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

return names_of
