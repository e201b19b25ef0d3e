-- Colours for numbers: dark for the least, through blue-green to yellow for the most, even in brightness.
local colour_scale = {}

-- Stops of the scale as red, green, blue.
local stops = { { 28, 16, 68 }, { 60, 60, 130 }, { 40, 120, 142 }, { 50, 168, 110 }, { 150, 205, 60 }, { 250, 230, 40 } }

--- The colour of a place on the scale.
---@param part number 0 (least) to 1 (most); NaN is red
---@return integer red, integer green, integer blue
function colour_scale.rgb(part)
  if part ~= part then return 200, 40, 40 end
  part = math.max(0, math.min(1, part)) * (#stops - 1)
  local i = math.min(#stops - 1, math.floor(part) + 1)
  local a, b, rest = stops[i], stops[i + 1], part - (i - 1)
  local function mix(c) return math.floor(a[c] + (b[c] - a[c]) * rest + 0.5) end
  return mix(1), mix(2), mix(3)
end

--- The nearest of 256 terminal colours (its cube of 6 x 6 x 6).
---@param part number
---@return integer
function colour_scale.of_256(part)
  local r, g, b = colour_scale.rgb(part)
  local function level(c) return math.floor(c / 255 * 5 + 0.5) end
  return 16 + 36 * level(r) + 6 * level(g) + level(b)
end

local shades = " .:-=+*#%@"

--- A character for a place on the scale.
---@param part number
---@return string
function colour_scale.shade(part)
  if part ~= part then return "!" end
  local i = 1 + math.floor(math.max(0, math.min(1, part)) * (#shades - 1) + 0.5)
  return shades:sub(i, i)
end

return colour_scale
