-- t:plot(file): one axis as a line, two as a picture of cells, with axes, ticks and a scale; SVG or PNG by the name.
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local colour_scale = require "perilune.show.colour_scale"
local heat_map = require "perilune.show.heat_map"
local svg_canvas = require "perilune.show.svg_canvas"
local png_canvas = require "perilune.show.png_canvas"

local plot = {}

local most_cells, most_points = 40000, 4000
local dark, blue, pale = { 70, 70, 70 }, { 34, 68, 102 }, { 221, 221, 221 }
local character = 6.5   -- width of a label's character

local function number(v) return (("%.4g"):format(v)) end

-- About five steps of 1, 2 or 5 times a power of ten.
local function ticks(least, most)
  local raw = (most - least) / 5
  local power = 10 ^ math.floor(math.log10(raw))
  local step = raw / power
  step = (step > 5 and 10 or step > 2 and 5 or step > 1 and 2 or 1) * power
  local list, at = {}, math.ceil(least / step - 1e-9)
  while at * step <= most + step * 1e-9 do
    list[#list + 1], at = at * step, at + 1
  end
  return list
end

local function canvas_for(path, width, height, title)
  if path:find "%.[pP][nN][gG]$" then return png_canvas.new(width, height) end
  return svg_canvas.new(width, height, title)
end

-- A label's characters and room.
local function length_of(label) return select(2, label:gsub("[^\128-\191]", "")) end

local function longest(labels)
  local most = 0
  for _, label in ipairs(labels) do most = math.max(most, length_of(label)) end
  return most
end

-- Every how many labels there is room for one.
local function every(count, room, needed) return math.max(1, math.ceil(count * needed / room)) end

-- Positions of an axis as they are written: ids of vocab and class from 0.
local function positions(axis, scale)
  local from, list = (axis.name == "vocab" or axis.name == "class") and 0 or 1, {}
  for i = 1, axis.size do list[i] = tostring(from + (i - 1) * (scale or 1)) end
  return list
end

local function line_plot(t, path, o)
  local values, axis = t:to("f32"):tolist(), t.shape[1]
  local rows = { values }
  local least, most = heat_map.extent(rows)
  if most == least then least, most = least - 0.5, most + 0.5 end
  local width, height, left, right, top, bottom = 700, 400, 70, 20, 40, 50
  local labels = o.columns
  if labels then bottom = 30 + math.min(14, longest(labels)) * character end
  local canvas = canvas_for(path, width, height, o.title)
  local w, h = width - left - right, height - top - bottom
  local function x_of(i) return left + (i - 0.5) / #values * w end
  local function y_of(v) return top + h - (v - least) / (most - least) * h end
  for _, v in ipairs(ticks(least, most)) do
    canvas:line({ { left, y_of(v) }, { left + w, y_of(v) } }, pale)
    canvas:text(left - 6, y_of(v) + 4, number(v), { anchor = "end" })
  end
  local names = labels or positions(axis)
  local step = every(#values, w, labels and 13 or 45)
  for i = 1, #values, step do
    canvas:line({ { x_of(i), top + h }, { x_of(i), top + h + 4 } }, dark)
    canvas:text(x_of(i) + (labels and 4 or 0), top + h + (labels and 8 or 16), names[i] or "", { anchor = labels and "end" or "middle", up = labels ~= nil })
  end
  canvas:line({ { left, top }, { left, top + h }, { left + w, top + h } }, dark)
  local points = {}
  local group = math.ceil(#values / most_points)
  for i = 1, #values, group do
    if heat_map.finite(values[i]) then
      points[#points + 1] = { x_of(i), y_of(values[i]) }
    else   -- a gap where there is no number
      canvas:line(points, blue, 1.5)
      points = {}
    end
  end
  canvas:line(points, blue, 1.5)
  canvas:text(left, 22, o.title .. (group > 1 and ("  (every %dth point is drawn)"):format(group) or ""), { big = true })
  canvas:text(left + w / 2, height - 8, axis.name, { anchor = "middle" })
  canvas:write(path)
end

-- The scale beside the cells.
local function legend(canvas, x, top, height, least, most)
  for i = 0, 49 do canvas:rect(x, top + (49 - i) / 50 * height, 14, height / 50 + 0.5, { colour_scale.rgb(i / 49) }) end
  for i = 0, 4 do
    local v = least + (most - least) * i / 4
    canvas:text(x + 20, top + height - height * i / 4 + 4, number(v))
  end
end

-- How many cells become one, so that there are not too many.
local function blocks(rows, columns)
  local by = 1
  while math.ceil(rows / by) * math.ceil(columns / by) > most_cells do by = by + 1 end
  return math.min(by, rows), math.min(by, columns)
end

local function cell_plot(t, path, o)
  local down, along = t.shape[1], t.shape[2]
  local by_rows, by_columns = blocks(down.size, along.size)
  local rows = heat_map.block_means(t:to("f32"):tolist(), by_rows, by_columns)
  local least, most = heat_map.extent(rows)
  local row_names, column_names = by_rows == 1 and o.rows or positions(down, by_rows), by_columns == 1 and o.columns or positions(along, by_columns)
  local aspect = o.aspect or 1
  local side = math.max(2, math.min(28, 560 / #rows[1], 560 / #rows))
  local cw, ch = side, side / aspect
  local left, top = 46 + math.min(24, longest(row_names)) * character, 40
  local bottom = 34 + (o.columns and math.min(14, longest(column_names)) * character or 14)
  local w, h = math.max(#rows[1] * cw, 60), #rows * ch
  local high = math.max(h, 90)
  local canvas = canvas_for(path, math.ceil(math.max(left + w + 100, 40 + length_of(o.title) * 9)), math.ceil(top + high + bottom), o.title)
  for r, row in ipairs(rows) do
    for c, v in ipairs(row) do
      local part = v ~= v and v or most > least and (v - least) / (most - least) or 0.5
      canvas:rect(left + (c - 1) * cw, top + (r - 1) * ch, cw + 0.05, ch + 0.05, { colour_scale.rgb(part) }, #rows * #row <= 4096
        and ("%s, %s: %s"):format(row_names[r] or r, column_names[c] or c, number(v)) or nil)
    end
  end
  for r = 1, #rows, every(#rows, h, 12) do canvas:text(left - 6, top + (r - 0.5) * ch + 4, row_names[r] or "", { anchor = "end" }) end
  local needed = o.columns and 12 or longest(column_names) * character + 8
  for c = 1, #rows[1], every(#rows[1], w, needed) do
    canvas:text(left + (c - 0.5) * cw + (o.columns and 4 or 0), top + h + (o.columns and 8 or 14), column_names[c] or "",
      { anchor = o.columns and "end" or "middle", up = o.columns ~= nil })
  end
  legend(canvas, left + w + 18, top, high, least, most)
  local said = (by_rows > 1 or by_columns > 1) and ("  (each cell is the mean of %d x %d)"):format(by_rows, by_columns) or ""
  canvas:text(left, 22, o.title .. said, { big = true })
  canvas:text(14, top + h / 2, down.name, { anchor = "middle", up = true })
  canvas:text(left + w / 2, top + high + bottom - 6, along.name, { anchor = "middle" })
  canvas:write(path)
end

local spec = { title = "string", rows = "table", columns = "table", aspect = "number" }

-- Labels as texts, as many as the axis is long.
local function read_labels(list, axis, key)
  if list == nil then return nil end
  if #list ~= axis.size then
    raise("option", "plot", ("option %s: %d labels for %s=%d"):format(key, #list, axis.name, axis.size), "give one for each position")
  end
  local out = {}
  for i, label in ipairs(list) do out[i] = tostring(label) end
  return out
end

--- Writes the picture.
---@param t Tensor one or two axes
---@param path string
---@param opts table|nil
function plot.write(t, path, opts)
  if type(path) ~= "string" or path == "" then raise("argument", "plot", "expected a file name, got " .. options.show(path)) end
  local o = options.pick(options.check(opts, spec, "plot"), { "title", "rows", "columns", "aspect" })
  local ending = path:match "%.(%a+)$"
  if ending and ending:lower() ~= "svg" and ending:lower() ~= "png" then
    raise("argument", "plot", ("a picture is written as .svg or .png, not as .%s: %s"):format(ending, path))
  end
  if t.rank < 1 or t.rank > 2 then
    raise("shape", "plot", ("one or two axes can be drawn, there are %d: %s"):format(t.rank, tostring(t.shape)), "pick a part with at")
  end
  for _, axis in ipairs(t.shape) do
    if axis.size == 0 then raise("shape", "plot", "there is nothing to draw: " .. tostring(t.shape)) end
  end
  if o.aspect and not (o.aspect > 0 and o.aspect < math.huge) then raise("option", "plot", "option aspect: expected a number above 0") end
  local names = {}
  for i, axis in ipairs(t.shape) do names[i] = axis.name end
  o.title = o.title or table.concat(names, " by ")
  if t.rank == 1 then
    if o.rows then raise("option", "plot", "option rows: a line has columns only") end
    o.columns = read_labels(o.columns, t.shape[1], "columns")
    return line_plot(t, path, o)
  end
  o.rows, o.columns = read_labels(o.rows, t.shape[1], "rows"), read_labels(o.columns, t.shape[2], "columns")
  return cell_plot(t, path, o)
end

return plot
