-- docs/guide: every chapter's blocks run as they stand and print what stands behind them.
local core = require "perilune.core"
local same_text = require "same_text"
local t = require "spec"
local guide = dofile "scripts/make_guide.lua"

-- The pictures that a chapter shows and its blocks make.
local function pictures_of(text)
  local list = {}
  for name in text:gmatch "%!%[[^%]]*%]%(%.%./pictures/([^)]+)%)" do list[#list + 1] = "docs/pictures/" .. name end
  return list
end

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
    same_text(old[i], made, path .. " is another picture: perilune scripts/make_guide.lua", 2e-2)
  end
  if not fine then error(result, 0) end
  return result
end

local chapters = guide.chapters()
t.test("there are chapters", function() t.ok(#chapters >= 7) end)

for _, path in ipairs(chapters) do
  t.test(path .. " prints what it says", function()
    local text = core.read_file(path)
    local now = keeping(pictures_of(text), function() return guide.run(path) end)
    same_text(text, now, "write it anew: perilune scripts/make_guide.lua")
  end)
end
