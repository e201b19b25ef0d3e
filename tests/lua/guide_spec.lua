-- docs/guide: every chapter's blocks run as they stand and print what stands behind them.
local core = require "perilune.core"
local t = require "spec"
local guide = dofile "scripts/make_guide.lua"

-- Numbers apart, which may differ in their last digits from one processor to the next.
local function parts(text)
  local words, numbers = text:gsub("%-?%d+%.%d+e?[-+]?%d*", "#"), {}
  for number in text:gmatch "%-?%d+%.%d+e?[-+]?%d*" do numbers[#numbers + 1] = tonumber(number) end
  return words, numbers
end

local chapters = guide.chapters()
t.test("there are chapters", function() t.ok(#chapters >= 6) end)

for _, path in ipairs(chapters) do
  t.test(path .. " prints what it says", function()
    local words, numbers = parts(guide.run(path))
    local told, said = parts(core.read_file(path))
    local line = 0
    local next_line = words:gmatch "([^\n]*)\n"
    for text in told:gmatch "([^\n]*)\n" do
      line = line + 1
      t.equal(text, next_line(), ("line %d; write it anew: perilune scripts/make_guide.lua"):format(line))
    end
    t.equal(next_line(), nil, "more is printed than the chapter says")
    for i, number in ipairs(said) do t.near(numbers[i], number, 2e-3 * math.max(1, math.abs(number)), "number " .. i) end
  end)
end
