-- The chapters of docs/guide, run: every Lua block as it stands, in order, and what it prints put behind it.
--   perilune scripts/make_guide.lua          writes the chapters anew
--   perilune scripts/make_guide.lua --check  says which differ, and ends with 1 where one does
-- A block whose fence is "```lua (not run)" is shown only. A chapter's blocks share their globals and locals are theirs.
local guide = { folder = "docs/guide" }
local whole_file = dofile "scripts/whole_file.lua"

--- The chapters, in the order that the guide's first page lists them.
function guide.chapters()
  local names = {}
  for name in whole_file.read(guide.folder .. "/README.md"):gmatch "%((%d[^)]*%.md)%)" do names[#names + 1] = guide.folder .. "/" .. name end
  return names
end

-- Runs a block; what it prints.
local function printed(code, where, globals)
  local out = {}
  globals.print = function(...)
    local words = {}
    for i = 1, select("#", ...) do words[i] = tostring((select(i, ...))) end
    out[#out + 1] = table.concat(words, "\t") .. "\n"
  end
  globals.io = setmetatable({ write = function(...) out[#out + 1] = table.concat { ... } end }, { __index = io })
  local chunk = assert(loadstring(code, "=" .. where))
  setfenv(chunk, globals)()
  local text = table.concat(out):gsub("[ \t]+\n", "\n")
  return text ~= "" and not text:match "\n$" and text .. "\n" or text
end

--- A chapter's text with what its blocks print now.
---@param path string
---@return string
function guide.run(path)
  local text = whole_file.read(path)
  local globals = setmetatable({}, { __index = _G })
  globals._G = globals
  local out, at = {}, 1
  while true do
    local first, last, fence, code = text:find("```lua([^\n]*)\n(.-)\n```\n", at)
    if not first then break end
    out[#out + 1] = text:sub(at, first - 1)
    local _, before = table.concat(out):gsub("\n", "\n")   -- lines as they will be, so that errors name them
    out[#out + 1] = text:sub(first, last)
    at = last + 1
    if fence == "" then
      local result = printed(("\n"):rep(before + 1) .. code, path, globals)
      local _, old = text:find("^\n```\n.-\n```\n", at)
      if old then at = old + 1 end
      if result ~= "" then out[#out + 1] = "\n```\n" .. result .. "```\n" end
    end
  end
  return table.concat(out) .. text:sub(at)
end

if not (arg and arg[0] and arg[0]:match "make_guide%.lua$") then return guide end

local wrong = 0
for _, path in ipairs(guide.chapters()) do
  local text = guide.run(path)
  if arg[1] ~= "--check" then
    whole_file.write(path, text)
  elseif text ~= whole_file.read(path) then
    wrong = wrong + 1
    print(path .. " differs from what it prints now")
  end
end
if wrong > 0 then os.exit(1) end
