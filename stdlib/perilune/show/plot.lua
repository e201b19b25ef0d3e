-- t:plot(file): one axis as a line, two as a picture of cells, as SVG.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"

local plot = {}

local width, height, most_cells = 640, 360, 40000

local function finite(v) return v == v and math.abs(v) ~= math.huge end

local function extent(rows)
  local least, most = math.huge, -math.huge
  for _, row in ipairs(rows) do
    for _, v in ipairs(row) do if finite(v) then least, most = math.min(least, v), math.max(most, v) end end
  end
  if least > most then return 0, 1 end
  return least, most > least and most or least + 1
end

local function line(values, least, most)
  local points, parts = {}, {}
  local function close()
    if #points > 0 then parts[#parts + 1] = ('<polyline fill="none" stroke="#246" points="%s"/>'):format(table.concat(points, " ")) end
    points = {}
  end
  for i, v in ipairs(values) do
    if finite(v) then
      points[#points + 1] = ("%.1f,%.1f"):format((i - 0.5) / #values * width, height - (v - least) / (most - least) * height)
    else
      close()   -- a gap where there is no number
    end
  end
  close()
  return table.concat(parts, "\n")
end

local function cells(rows, least, most)
  local parts, columns = {}, #rows[1]
  local w, h = width / columns, height / #rows
  for r, row in ipairs(rows) do
    for c, v in ipairs(row) do
      local shade = finite(v) and 255 - math.floor((v - least) / (most - least) * 255 + 0.5)
      parts[#parts + 1] = ('<rect x="%.2f" y="%.2f" width="%.2f" height="%.2f" fill="%s"/>'):format((c - 1) * w, (r - 1) * h, w, h,
        shade and ("rgb(%d,%d,%d)"):format(shade, shade, 255) or "#c33")
    end
  end
  return table.concat(parts, "\n")
end

--- Writes the picture.
---@param t Tensor one or two axes
---@param path string
function plot.write(t, path)
  if type(path) ~= "string" or path == "" then raise("argument", "plot", "expected a file name, got " .. options.show(path)) end
  if t.rank < 1 or t.rank > 2 then
    raise("shape", "plot", ("one or two axes can be drawn, there are %d: %s"):format(t.rank, tostring(t.shape)), "pick a part with at")
  end
  local count = 1
  for _, axis in ipairs(t.shape) do count = count * axis.size end
  if count == 0 or count > most_cells and t.rank == 2 then
    raise("shape", "plot", ("%d cells cannot be drawn: %s"):format(count, tostring(t.shape)), "pick a part with at")
  end
  local rows = t:to("f32"):tolist()
  local flat = t.rank == 1 and { rows } or rows
  local least, most = extent(flat)
  local names = {}
  for i, axis in ipairs(t.shape) do names[i] = axis.name end
  core.write_file(path, ([[<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d">
<title>%s, %g to %g</title>
<rect width="%d" height="%d" fill="white"/>
%s
</svg>
]]):format(width, height, width, height, table.concat(names, " by "), least, most, width, height,
    t.rank == 1 and line(rows, least, most) or cells(rows, least, most)))
end

return plot
