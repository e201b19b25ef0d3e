-- Charts with axes, ticks and labels, as SVG: panels below each other, each with bars, points or lines.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"

local chart = {}

local width, panel_height = 720, 300
local left, right, top, bottom = 80, 24, 36, 56
local colours = { "#246", "#c52", "#283", "#838", "#a80" }

local function escape(text)
  return (tostring(text):gsub("[&<>]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;" }))
end

local function label_of(v)
  if v ~= 0 and (math.abs(v) < 0.01 or math.abs(v) >= 1e5) then return ("%.0e"):format(v):gsub("e([+-])0*(%d)", "e%1%2"):gsub("e%+", "e") end
  return (("%.3f"):format(v):gsub("%.?0+$", ""))
end

-- Steps of 1, 2 or 5 times a power of ten: about five of them.
local function linear_ticks(least, most)
  local raw = (most - least) / 5
  local power = 10 ^ math.floor(math.log10(raw))
  local step = raw / power
  step = (step > 5 and 10 or step > 2 and 5 or step > 1 and 2 or 1) * power
  local list, at = {}, math.ceil(least / step)
  while at * step <= most * (1 + 1e-9) do
    list[#list + 1], at = at * step, at + 1
  end
  return list
end

local function log_ticks(least, most)
  local list = {}
  for power = math.floor(math.log10(least)), math.ceil(math.log10(most)) do
    local v = 10 ^ power
    if v >= least * 0.999 and v <= most * 1.001 then list[#list + 1] = v end
  end
  return list
end

local function shown(v, axis) return v ~= nil and v == v and math.abs(v) ~= math.huge and (not axis.log or v > 0) end

-- The range of an axis: all of its numbers, and a little room.
local function range(panel, at, axis)
  local least, most = math.huge, -math.huge
  for _, series in ipairs(panel.series) do
    for _, point in ipairs(series.points) do
      if shown(point[at], axis) then least, most = math.min(least, point[at]), math.max(most, point[at]) end
    end
  end
  if least > most then least, most = axis.log and 0.1 or 0, 1 end
  if axis.log then return 10 ^ math.floor(math.log10(least)), 10 ^ math.ceil(math.log10(most * 1.0001)) end
  if axis.zero ~= false then least = math.min(least, 0) end
  if most == least then most = least + 1 end
  return least, most + (most - least) * 0.05
end

local function scale(axis, least, most, from, to)
  if axis.log then
    local a, b = math.log(least), math.log(most)
    return function(v) return from + (math.log(v) - a) / (b - a) * (to - from) end
  end
  return function(v) return from + (v - least) / (most - least) * (to - from) end
end

local function text_at(x, y, text, more)
  return ('<text x="%.1f" y="%.1f" %s>%s</text>'):format(x, y, more or "", escape(text))
end

local function draw_axes(parts, panel, place, x, y)
  local function add(...) parts[#parts + 1] = (...) end
  for _, v in ipairs(panel.y.log and log_ticks(place.y[1], place.y[2]) or linear_ticks(place.y[1], place.y[2])) do
    add(('<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/>'):format(left, y(v), width - right, y(v)))
    add(text_at(left - 6, y(v) + 4, label_of(v), 'text-anchor="end"'))
  end
  for _, v in ipairs(panel.x.log and log_ticks(place.x[1], place.x[2]) or linear_ticks(place.x[1], place.x[2])) do
    add(('<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#888"/>'):format(x(v), place.bottom, x(v), place.bottom + 4))
    add(text_at(x(v), place.bottom + 17, label_of(v), 'text-anchor="middle"'))
  end
  add(('<path d="M%d %dV%dH%d" fill="none" stroke="#444"/>'):format(left, place.top, place.bottom, width - right))
  add(text_at(left, place.top - 12, panel.title, 'font-size="14" font-weight="bold"'))
  add(text_at((left + width - right) / 2, place.bottom + 38, panel.x.label, 'text-anchor="middle"'))
  local middle = (place.top + place.bottom) / 2
  add(text_at(18, middle, panel.y.label, ('text-anchor="middle" transform="rotate(-90 18 %.1f)"'):format(middle)))
end

local draw = {}

function draw.bars(series, colour, x, y, place, axis)
  local parts, w = {}, math.max(1, (width - left - right) / math.max(1, #series.points) * 0.7)
  for _, point in ipairs(series.points) do
    if shown(point[2], axis) then
      parts[#parts + 1] = ('<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"><title>%s</title></rect>'):format(x(point[1]) - w / 2,
        y(point[2]), w, math.max(0.5, place.bottom - y(point[2])), colour, escape(point[3] or point[2]))
    end
  end
  return parts
end

function draw.line(series, colour, x, y, _, axis)
  local points = {}
  for _, point in ipairs(series.points) do
    if shown(point[2], axis) then points[#points + 1] = ("%.1f,%.1f"):format(x(point[1]), y(point[2])) end
  end
  return { ('<polyline fill="none" stroke="%s" stroke-width="1.5" points="%s"/>'):format(colour, table.concat(points, " ")) }
end

function draw.points(series, colour, x, y, place, axis)
  local parts = {}
  for _, point in ipairs(series.points) do
    local at = shown(point[2], axis) and y(point[2]) or place.bottom   -- nothing lost lies on the axis of a logarithm
    parts[#parts + 1] = ('<circle cx="%.1f" cy="%.1f" r="4" fill="%s"/>'):format(x(point[1]), at, colour)
    if point[3] then
      local late = x(point[1]) > (left + width - right) * 0.6
      parts[#parts + 1] = text_at(x(point[1]) + (late and -7 or 7), at - 6, point[3], late and 'text-anchor="end"' or "")
    end
  end
  return parts
end

local function draw_panel(parts, panel, number)
  local place = { top = (number - 1) * panel_height + top, bottom = number * panel_height - bottom }
  place.x, place.y = { range(panel, 1, panel.x) }, { range(panel, 2, panel.y) }
  local x, y = scale(panel.x, place.x[1], place.x[2], left, width - right), scale(panel.y, place.y[1], place.y[2], place.bottom, place.top)
  draw_axes(parts, panel, place, x, y)
  local named = 0
  for i, series in ipairs(panel.series) do
    local colour = series.colour or colours[(i - 1) % #colours + 1]
    for _, part in ipairs(draw[series.kind](series, colour, x, y, place, panel.y)) do parts[#parts + 1] = part end
    if series.name then
      named = named + 1
      parts[#parts + 1] = text_at(width - right, place.top - 12 + (named - 1) * 14, series.name, ('text-anchor="end" fill="%s"'):format(colour))
    end
  end
end

--- Writes the picture. A panel is { title=, x={ label=, log=false }, y={ label=, log=false }, series={ { kind="bars"|"points"|"line",
--- points={ { x, y, label }, … }, name=, colour= }, … } }; what a logarithm cannot show is left out, a point of it lies on the axis.
---@param path string
---@param panels table[]
---@param title string
function chart.write(path, panels, title)
  if type(path) ~= "string" or path == "" then raise("argument", "plot", "expected a file name, got " .. options.show(path)) end
  local parts = {}
  for i, panel in ipairs(panels) do draw_panel(parts, panel, i) end
  core.write_file(path, ([[<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">
<title>%s</title>
<rect width="100%%" height="100%%" fill="white"/>
%s
</svg>
]]):format(width, #panels * panel_height, width, #panels * panel_height, escape(title), table.concat(parts, "\n")))
end

return chart
