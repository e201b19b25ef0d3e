-- Whether a page says what it would say now: words to the letter, numbers nearly, since their last digits may differ from one
-- processor to the next.
local t = require "spec"

local number = "%-?%d+%.%d+e?[-+]?%d*"

-- Words with # for numbers, and the numbers; shades of colours are three numbers, of 0 to 1.
local function parts(text)
  local numbers = {}
  text = text:gsub("rgb%((%d+),(%d+),(%d+)%)", function(...)
    for _, shade in ipairs { ... } do numbers[#numbers + 1] = tonumber(shade) / 255 end
    return "rgb"
  end)
  for one in text:gmatch(number) do numbers[#numbers + 1] = tonumber(one) end
  return text:gsub(number, "#"), numbers
end

--- Fails where a text differs from what it should be now.
---@param told string as it lies there
---@param now string
---@param remedy string
---@param tolerance number|nil of a number, relative where it is larger than 1
local function same_text(told, now, remedy, tolerance)
  local words, numbers = parts(now)
  local old, said = parts(told)
  local line = 0
  local next_line = words:gmatch "([^\n]*)\n"
  for text in old:gmatch "([^\n]*)\n" do
    line = line + 1
    t.equal(text, next_line(), ("line %d; %s"):format(line, remedy))
  end
  t.equal(next_line(), nil, "more is printed than the page says")
  for i, one in ipairs(said) do t.near(numbers[i], one, (tolerance or 2e-3) * math.max(1, math.abs(one)), "number " .. i) end
end

return same_text
