-- A picture as SVG text: rectangles, lines, words.
local core = require "perilune.core"

local svg_canvas = {}

local Canvas = {}
Canvas.__index = Canvas

local function escape(text) return (tostring(text):gsub("[&<>]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;" }):gsub("%c", "?")) end

local function rgb(c) return ("rgb(%d,%d,%d)"):format(c[1], c[2], c[3]) end

--- An empty picture.
---@param width integer
---@param height integer
---@param title string
---@return table canvas with rect, line, text, write
function svg_canvas.new(width, height, title)
  return setmetatable({ width = width, height = height, title = title, parts = {} }, Canvas)
end

function Canvas:add(part) self.parts[#self.parts + 1] = part end

--- A filled rectangle; `tip` is shown where the mouse rests.
function Canvas:rect(x, y, w, h, colour, tip)
  local body = tip and ("><title>%s</title></rect>"):format(escape(tip)) or "/>"
  self:add(('<rect x="%.2f" y="%.2f" width="%.2f" height="%.2f" fill="%s"%s'):format(x, y, w, h, rgb(colour), body))
end

--- A line through points.
function Canvas:line(points, colour, thick)
  local list = {}
  for i, point in ipairs(points) do list[i] = ("%.1f,%.1f"):format(point[1], point[2]) end
  self:add(('<polyline fill="none" stroke="%s" stroke-width="%.1f" points="%s"/>'):format(rgb(colour), thick or 1, table.concat(list, " ")))
end

--- Words: anchor "start", "middle" or "end" at x; `up` turns them to read upwards; big for titles.
function Canvas:text(x, y, words, o)
  o = o or {}
  local turn = o.up and (' transform="rotate(-90 %.1f %.1f)"'):format(x, y) or ""
  self:add(('<text x="%.1f" y="%.1f" text-anchor="%s" font-size="%d"%s>%s</text>'):format(x, y, o.anchor or "start", o.big and 15 or 11, turn, escape(words)))
end

--- Writes the file.
function Canvas:write(path)
  core.write_file(path, ([[<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif">
<title>%s</title>
<rect width="100%%" height="100%%" fill="white"/>
%s
</svg>
]]):format(self.width, self.height, self.width, self.height, escape(self.title), table.concat(self.parts, "\n")))
end

return svg_canvas
