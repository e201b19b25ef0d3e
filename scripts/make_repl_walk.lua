-- docs/repl.md, typed: every line behind a prompt of its ```repl blocks goes to one session, and what the session answers is put
-- behind it.
--   perilune scripts/make_repl_walk.lua          writes the page and its pictures (docs/repl/*.svg) anew
--   perilune scripts/make_repl_walk.lua --check  says what differs, and ends with 1 where something does
-- A new line needs "[]> " in front of it; prompts get their numbers here. "```repl (times vary)": what was printed is kept as long
-- as it differs in numbers only. "```repl (first 9 lines)": of each answer. Files that a line names are written beside the pictures (*.svg) or
-- into a temporary folder (*.lua). Screens (docs/repl/screen-*.svg) are made by scripts/make_repl_screens.py.
local walk = { page = "docs/repl.md", pictures = "docs/repl" }

local pl = require "perilune"
local whole_file = dofile "scripts/whole_file.lua"

-- Calls `f` with a folder that is gone afterwards.
local function with_temporary_folder(f)
  local folder = os.tmpname()
  pl.files.remove(folder)
  pl.files.make_folder(folder)
  local fine, found = pcall(f, folder)
  for _, name in ipairs(pl.files.list(folder)) do pl.files.remove(folder .. "/" .. name) end
  pl.files.remove(folder)
  if not fine then error(found, 0) end
  return found
end

-- The input that a line of a block is, and whether it goes on with the one before.
local function input_of(line)
  local text = line:match "^%[%d*%]> ?(.*)$" or line:match "^debug> ?(.*)$"
  if text then return text, false end
  text = line:match "^ *>> ?(.*)$"
  return text, true
end

--- What a page consists of, in order: { text= } as it stands, { input=, said= what the page says it printed, varies=,
--- first= how many lines of its answer }.
---@param page string
---@return table[]
function walk.parts(page)
  local parts, block = {}, nil
  for line in page:gmatch "[^\n]*\n" do
    local fence = line:match "^```(.*)\n$"
    local bare = line:sub(1, -2)
    if fence and not block and fence:find "^repl" then
      block = { varies = fence:find "times vary" ~= nil, first = tonumber(fence:match "first (%d+) lines") }
    elseif fence then
      block = nil
    elseif block then
      local text, more = input_of(bare)
      local last = parts[#parts]
      if text and not more then
        parts[#parts + 1] = { input = text, said = "", varies = block.varies, first = block.first }
      elseif text then
        last.input = last.input .. "\n" .. text
      elseif last.input then
        last.said = last.said .. line
      end
    end
    if fence or not block then parts[#parts + 1] = { text = line } end
  end
  return parts
end

-- Files of a line where they may lie while the page is made.
local function with_folders(text, folders)
  return (text:gsub("([%w_%-/]+)(%.%l+)", function(name, ending)
    local folder = folders[ending]
    return folder and not name:find "/" and folder .. "/" .. name .. ending or nil
  end))
end

local function without_folders(text, folders)
  for _, folder in pairs(folders) do
    local at = text:find(folder .. "/", 1, true)
    while at do
      text = text:sub(1, at - 1) .. text:sub(at + #folder + 1)
      at = text:find(folder .. "/", 1, true)
    end
  end
  return text
end

-- The first lines of an answer, and how many there are more.
local function shortened(text, most)
  local lines = {}
  for line in text:gmatch "[^\n]*\n" do lines[#lines + 1] = line end
  if not most or #lines <= most + 1 then return text end
  return table.concat(lines, "", 1, most) .. ("... (%d lines more)\n"):format(#lines - most)
end

-- What `f` prints and reports goes to `hear`.
local function listening(f, hear)
  local print_before, write_before, err_before = print, io.write, io.stderr
  function _G.print(...)
    local words = {}
    for i = 1, select("#", ...) do words[i] = tostring((select(i, ...))) end
    hear(table.concat(words, "\t") .. "\n")
  end
  function io.write(...) hear(table.concat { ... }) end  -- luacheck: ignore 122
  io.stderr = { write = function(_, ...) hear(table.concat { ... }) end }  -- luacheck: ignore 122
  local fine, problem = pcall(f)
  _G.print, io.write, io.stderr = print_before, write_before, err_before  -- luacheck: ignore 122
  if not fine then error(problem, 0) end
end

--- Types the inputs of a page's parts; each gets its `prompt` and what was `printed` after it.
---@param parts table[]
---@param folders table<string, string> where files lie, by their ending
function walk.type(parts, folders)
  local at, current = 0, { printed = "" }
  local function read(prompt)
    repeat at = at + 1 until not parts[at] or parts[at].input
    current = parts[at]
    if not current then return nil, "end" end
    current.prompt, current.printed = prompt, ""
    return (with_folders(current.input, folders))
  end
  local terminal = require "perilune.show.terminal"
  local width, colours = terminal.width, terminal.colours
  function terminal.width() return 100 end
  function terminal.colours() return "ascii" end
  listening(function()
    local session = require("perilune.session.repl").new { interactive = true, version = pl.version, read = read }
    for text in function() return read(session:prompt()) end do
      if not session:line(text) then break end
    end
  end, function(text) if current then current.printed = current.printed .. text end end)
  terminal.width, terminal.colours = width, colours
  for _, part in ipairs(parts) do
    if part.input then part.printed = shortened(without_folders(part.printed or "", folders):gsub("[ \t]+\n", "\n"), part.first) end
  end
end

-- Numbers with the units and blanks that move with them.
local function without_numbers(text)
  return (text:gsub("%d[%d%.e+%-]*", "#"):gsub(" +", " "):gsub("# [num\194\181]+s%f[%A]", "# s"):gsub("# [KMG]?i?B", "# B"))
end

--- The page with what was printed.
---@param parts table[] after walk.type
---@return string
function walk.text(parts)
  local out = {}
  for _, part in ipairs(parts) do
    if part.text then
      out[#out + 1] = part.text
    else
      local lines = {}
      for line in (part.input .. "\n"):gmatch "(.-)\n" do lines[#lines + 1] = line end
      local before = (" "):rep(#part.prompt - 3) .. ">> "
      out[#out + 1] = part.prompt .. table.concat(lines, "\n" .. before) .. "\n"
      local same = part.varies and without_numbers(part.printed) == without_numbers(part.said)
      out[#out + 1] = same and part.said or part.printed
    end
  end
  return table.concat(out)
end

--- The page as it would be written now.
---@param page string
---@param pictures string the folder for its pictures
---@return string
function walk.run(page, pictures)
  return with_temporary_folder(function(own)
    local parts = walk.parts(page)
    walk.type(parts, { [".svg"] = pictures, [".lua"] = own })
    return walk.text(parts)
  end)
end

--- The page and its pictures: called with a path, what lies there, what would be there now.
---@param tell fun(path: string, there: string|nil, now: string)
function walk.each(tell)
  with_temporary_folder(function(folder)
    local old = whole_file.read(walk.page)
    tell(walk.page, old, walk.run(old, folder))
    for _, name in ipairs(pl.files.list(folder)) do
      local path = walk.pictures .. "/" .. name
      tell(path, pl.files.exists(path) and whole_file.read(path) or nil, whole_file.read(folder .. "/" .. name))
    end
  end)
end

if not (arg and arg[0] and arg[0]:match "make_repl_walk%.lua$") then return walk end

if arg[1] ~= "--check" then return whole_file.write(walk.page, walk.run(whole_file.read(walk.page), walk.pictures)) end
local wrong = 0
walk.each(function(path, there, now)
  if there == now then return end
  wrong = wrong + 1
  print(path .. " differs from what is printed or drawn now")
end)
if wrong > 0 then os.exit(1) end
