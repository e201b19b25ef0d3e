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

local powers = { [""] = 0, K = 1, M = 2, G = 3, T = 4 }

--- Bytes of 1048576, "20G", "512 MiB" (steps of 1024) or "20GB" (steps of 1000); nil for anything else.
---@param value any
---@return integer|nil
function byte_count.read(value)
  if type(value) == "number" then return value >= 0 and value < 2 ^ 53 and math.floor(value) or nil end
  if type(value) ~= "string" then return nil end
  local number, unit, rest = value:match "^%s*(%d+%.?%d*)%s*([KMGTkmgt]?)(i?B?)%s*$"
  if not number or rest == "i" then return nil end
  return math.floor(tonumber(number) * (rest == "B" and 1000 or 1024) ^ powers[unit:upper()])
end

return byte_count
