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

-- The pictures that a chapter shows and its blocks make.
local function pictures_of(text)
  local list = {}
  for name in text:gmatch "%!%[[^%]]*%]%(%.%./pictures/([^)]+)%)" do list[#list + 1] = "docs/pictures/" .. name end
  return list
end

-- What of an SVG is the same on every processor: numbers and colours may differ in their last digits.
local function form_of(svg) return (svg:gsub("%d+%.%d+", "#"):gsub("rgb%([^)]*%)", "rgb")) end

-- Runs f; the pictures that it makes have the form that they had, and are left as they were.
local function keeping(paths, f)
  local old = {}
  for i, path in ipairs(paths) do
    old[i] = core.read_file(path)
    os.remove(path)
  end
  local fine, result = pcall(f)
  for i, path in ipairs(paths) do
    local made = core.file_exists(path) and core.read_file(path) or ""
    core.write_file(path, old[i])
    t.ok(form_of(made) == form_of(old[i]), path .. " is another picture: perilune scripts/make_guide.lua")
  end
  if not fine then error(result, 0) end
  return result
end

local chapters = guide.chapters()
t.test("there are chapters", function() t.ok(#chapters >= 7) end)

for _, path in ipairs(chapters) do
  t.test(path .. " prints what it says", function()
    local text = core.read_file(path)
    local words, numbers = parts(keeping(pictures_of(text), function() return guide.run(path) end))
    local told, said = parts(text)
    local line = 0
    local next_line = words:gmatch "([^\n]*)\n"
    for said_line in told:gmatch "([^\n]*)\n" do
      line = line + 1
      t.equal(said_line, next_line(), ("line %d; write it anew: perilune scripts/make_guide.lua"):format(line))
    end
    t.equal(next_line(), nil, "more is printed than the chapter says")
    for i, number in ipairs(said) do t.near(numbers[i], number, 2e-3 * math.max(1, math.abs(number)), "number " .. i) end
  end)
end
