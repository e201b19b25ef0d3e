-- Numbers of bytes for people.
local byte_count = {}

local units = { "B", "KiB", "MiB", "GiB", "TiB" }

--- "9.4 MiB".
---@param count number
---@return string
function byte_count.text(count)
  local i = 1
  while count >= 1024 and i < #units do count, i = count / 1024, i + 1 end
  return i == 1 and ("%d B"):format(count) or ("%.1f %s"):format(count, units[i])
end

return byte_count
