-- Tensors as text and as pictures: columns, statistics and counts of every element, SVG and PNG.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"

local nan, inf = 0 / 0, math.huge

-- What a call prints.
local function printed(f)
  local lines, old = {}, print
  rawset(_G, "print", function(text) lines[#lines + 1] = text end)
  local fine, err = pcall(f)
  rawset(_G, "print", old)
  t.ok(fine, tostring(err))
  return table.concat(lines, "\n")
end


local function grid(rows, columns)
  local list = {}
  for i = 1, rows do
    list[i] = {}
    for j = 1, columns do list[i][j] = (i - 1) * columns + j end
  end
  return pl.tensor(list, { axes = { "row", "column" } })
end

t.test("show: columns that line up, elided by the width, more when asked", function()
  local x = grid(30, 40)
  local text = printed(function() x:show { width = 60 } end)
  t.ok(text:find("column = +1 +2 +%.%.%. +39 +40\n"), text)
  t.ok(text:find("row=30 +1161 +1162 +%.%.%. +1199 +1200\n"), text)
  t.ok(text:find("(11 of 30 lines, 4 of 40 columns", 1, true), text)
  text = printed(function() x:show { rows = 30, columns = 40 } end)
  t.ok(not text:find("...", 1, true) and text:find("row=17 +641 +642 +643"), text)
  text = printed(function() x:show { rows = 2, columns = 1 } end)
  t.ok(text:find("row=1 +1 +%.%.%.\n") and text:find("row=30 +1161"), text)
  text = printed(function() pl.tensor({ 1.5, nan, -inf, 2 }, { axes = { "vocab" } }):show() end)
  t.ok(text:find("vocab = +0 +1 +2 +3\n +1.5 +nan +%-inf +2"), text)
  for _, one in ipairs { pl.tensor(7), pl.zeros({ 0, 2 }, { axes = { "a", "b" } }), pl.tensor({ true, false }, { axes = { "n" } }) } do
    t.ok(#printed(function() one:show { heat = "ascii" } end) > 5)
  end
  text = printed(function() grid(2, 2):show { heat = "ascii" } end)
  t.ok(text:find("| -|\n|*@|\n1  .:-=+*#%@ 4", 1, true), text)
  text = printed(function() pl.zeros({ 6, 2, 2 }, { axes = { "head", "query", "key" } }):show { heat = "ascii" } end)
  t.ok(text:find("(4 of 6 pictures", 1, true), text)
  t.raises_table(function() x:show { row = 3 } end, "row", "rows")
  t.raises_table(function() x:show { heat = "blue" } end, "heat")
end)

t.test("statistics and hist are of every element, however many", function()
  local many = pl.zeros({ 3000, 500 }, { axes = { "row", "column" } })
  many:set(7, { row = 2999, column = 499 })
  many:set(-2, { row = 1 })
  t.ok(tostring(many):find("min -2  max 7  mean -0.0006620  nan 0", 1, true) or tostring(many):find("min %-2  max 7  mean %-0%.000662"), tostring(many):match "^[^\n]*")
  local text = printed(function() many:hist { bins = 3 } end)
  t.ok(text:find("-2  #+ 1499999\n") and text:find("4   1$"), text)
  text = printed(function() pl.tensor { 1, nan, inf, 2 }:hist { bins = 2 } end)
  t.ok(text:find("nan or inf  2", 1, true), text)
end)

-- The size and the bytes of a PNG's pixels, after checking every chunk's sum.
local function png_of(path)
  local bytes = core.read_file(path)
  t.equal(bytes:sub(1, 8), "\137PNG\r\n\26\n")
  local function number(at) return bytes:byte(at) * 2 ^ 24 + bytes:byte(at + 1) * 2 ^ 16 + bytes:byte(at + 2) * 256 + bytes:byte(at + 3) end
  local at, names = 9, {}
  while at <= #bytes do
    names[#names + 1] = bytes:sub(at + 4, at + 7)
    at = at + 12 + number(at)
  end
  t.equal(at, #bytes + 1)
  return { width = number(17), height = number(21), names = table.concat(names, " ") }
end

t.test("plot writes SVG or PNG by the name's ending, with labels, ticks and a scale", function()
  local folder = os.tmpname()
  os.remove(folder)
  core.make_directory(folder, "test")
  local x = grid(3, 4)
  x:plot(folder .. "/x.svg", { title = "three & four", rows = { "a", "b", "▁c" }, columns = { 1, 2, 3, "<s>" } })
  local svg = core.read_file(folder .. "/x.svg")
  for _, part in ipairs { "three &amp; four", ">▁c<", "&lt;s&gt;", ">row<", ">column<", "▁c, 2: 10", ">12<", ">6.5<" } do
    t.ok(svg:find(part, 1, true), part)
  end
  x:plot(folder .. "/x.png", { title = "three", rows = { "a", "b", "▁c" }, columns = { "é", 2, 3, "<s>" }, aspect = 2 })
  local png = png_of(folder .. "/x.png")
  t.equal(png.names, "IHDR PLTE IDAT IEND")
  t.ok(png.width > 200 and png.height > 200)
  pl.tensor({ 1, nan, 3, -inf, 2 }, { axes = { "vocab" } }):plot(folder .. "/line.svg", { columns = { "a", "b", "c", "d", "e" } })
  t.equal(select(2, core.read_file(folder .. "/line.svg"):gsub('stroke="rgb%(34,68,102%)"', "")), 3, "gaps where there is no number")
  pl.zeros({ 9 }, { axes = { "n" } }):plot(folder .. "/flat.PNG")
  png_of(folder .. "/flat.PNG")
  pl.zeros({ 600, 300 }, { axes = { "row", "column" } }):plot(folder .. "/large.svg")
  t.ok(core.read_file(folder .. "/large.svg"):find("each cell is the mean of 3 x 3", 1, true))
  for _, case in ipairs { { "x.gif", {}, ".gif" }, { "x.svg", { rows = { "a" } }, "1 labels for row=3" }, { "x.svg", { title = 5 }, "title" },
    { "x.svg", { rowz = {} }, "rows" }, { "x.svg", { aspect = 0 }, "aspect" } } do
    t.raises_table(function() x:plot(folder .. "/" .. case[1], case[2]) end, case[3])
  end
  t.raises_table(function() pl.zeros({ 0 }, { axes = { "n" } }):plot(folder .. "/e.svg") end, "nothing to draw")
  core.remove_path(folder, true, "test")
end)

t.test("a batch as a grid of pieces, with its padding", function()
  local tokenizer = pl.tokenizer "scripts/models/tales"
  local b = tokenizer:encode { "Once upon a time", "The fox" }
  local text = printed(function() t.equal(b:show { width = 96 }, b) end)
  t.equal(text, "   1 (5) <s> ▁Once ▁upon ▁a ▁time\n   2 (3) <s> ▁The  ▁fox  ·  ·\n2 rows, 10 positions, 2 of them padding")
  text = printed(function() b:show { side = "left", width = 30 } end)
  t.ok(text:find("2 (3) ·   ·", 1, true) and text:find("columns are shown", 1, true), text)
  text = printed(function() pl.batch({ { 7, 8 }, { 9 } }):show() end)
  t.ok(text:find("1 (2) 7 8\n   2 (1) 9 ·", 1, true), text)
  t.raises_table(function() b:show { side = "top" } end, "side")
end)
