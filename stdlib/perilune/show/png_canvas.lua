-- A picture as PNG: the pixels of rectangles, lines and words, written without compression (RFC 1950 and 1951, stored
-- blocks; PNG, third edition).
local bit = require "bit"
local core = require "perilune.core"
local letters = require "perilune.show.letters"

local png_canvas = {}

local Canvas = {}
Canvas.__index = Canvas

local scale = 2   -- pixels a unit: labels stay sharp

--- An empty picture.
---@param width integer in units of two pixels
---@param height integer
---@return table canvas with rect, line, text, write
function png_canvas.new(width, height)
  local w, h, rows = width * scale, height * scale, {}
  local white = string.char(255, 255, 255)
  for y = 1, h do
    rows[y] = {}
    for x = 1, w do rows[y][x] = white end
  end
  return setmetatable({ w = w, h = h, rows = rows }, Canvas)
end

local function pixel(colour) return string.char(colour[1], colour[2], colour[3]) end

local function fill(self, x1, y1, x2, y2, p)
  for y = math.max(1, y1), math.min(self.h, y2) do
    local row = self.rows[y]
    for x = math.max(1, x1), math.min(self.w, x2) do row[x] = p end
  end
end

function Canvas:rect(x, y, w, h, colour)
  local x1, y1 = math.floor(x * scale + 0.5), math.floor(y * scale + 0.5)
  fill(self, x1 + 1, y1 + 1, math.max(x1 + 1, math.floor((x + w) * scale + 0.5)), math.max(y1 + 1, math.floor((y + h) * scale + 0.5)), pixel(colour))
end

local function segment(self, a, b, p, thick)
  local steps = math.max(1, math.ceil(math.max(math.abs(b[1] - a[1]), math.abs(b[2] - a[2]))))
  for i = 0, steps do
    local x = math.floor(a[1] + (b[1] - a[1]) * i / steps + 0.5)
    local y = math.floor(a[2] + (b[2] - a[2]) * i / steps + 0.5)
    fill(self, x + 1, y + 1, x + thick, y + thick, p)
  end
end

function Canvas:line(points, colour, thick)
  local p, wide = pixel(colour), math.max(1, math.floor((thick or 1) * scale / 2 + 0.5))
  for i = 2, #points do
    segment(self, { points[i - 1][1] * scale, points[i - 1][2] * scale }, { points[i][1] * scale, points[i][2] * scale }, p, wide)
  end
end

function Canvas:text(x, y, words, o)
  o = o or {}
  local size = (o.big and 1.5 or 1) * scale
  local list = letters.of(tostring(words))
  local length = #list * letters.advance * size
  local back = o.anchor == "end" and length or o.anchor == "middle" and length / 2 or 0
  local black, thick = pixel { 20, 20, 20 }, o.big and 2 or 1
  local function place(point, at)
    local along, down = (at + point[1]) * size - back, (point[2] - letters.height + 1) * size
    if o.up then return { x * scale + down, y * scale - along } end
    return { x * scale + along, y * scale + down }
  end
  for _, glyph in ipairs(list) do
    for _, stroke in ipairs(glyph.strokes) do
      if #stroke == 1 then stroke[2] = stroke[1] end
      for i = 2, #stroke do segment(self, place(stroke[i - 1], glyph[1]), place(stroke[i], glyph[1]), black, thick) end
    end
  end
end

-- ---------------------------------------------------------------- the file

local crc_table

local function crc32(text)
  if not crc_table then
    crc_table = {}
    for n = 0, 255 do
      local c = n
      for _ = 1, 8 do c = bit.band(c, 1) == 1 and bit.bxor(0xEDB88320, bit.rshift(c, 1)) or bit.rshift(c, 1) end
      crc_table[n] = c
    end
  end
  local c = 0xFFFFFFFF
  for i = 1, #text do c = bit.bxor(crc_table[bit.band(bit.bxor(c, text:byte(i)), 255)], bit.rshift(c, 8)) end
  return bit.bxor(c, 0xFFFFFFFF)
end

local function big_endian(n)
  return string.char(bit.band(bit.rshift(n, 24), 255), bit.band(bit.rshift(n, 16), 255), bit.band(bit.rshift(n, 8), 255), bit.band(n, 255))
end

local function chunk(name, data) return big_endian(#data) .. name .. data .. big_endian(crc32(name .. data)) end

local function adler32(text)
  local a, b = 1, 0
  for i = 1, #text do
    a = (a + text:byte(i)) % 65521
    b = (b + a) % 65521
  end
  return bit.bor(bit.lshift(b, 16), a)
end

-- A zlib stream of stored blocks.
local function stored(data)
  local parts, most = { "\120\1" }, 65535
  for from = 1, #data, most do
    local block = data:sub(from, from + most - 1)
    local n = #block
    parts[#parts + 1] = string.char(from + n > #data and 1 or 0, n % 256, math.floor(n / 256), 255 - n % 256, 255 - math.floor(n / 256)) .. block
  end
  return table.concat(parts) .. big_endian(adler32(data))
end

-- Pixels as numbers of a palette, where there are few colours: a third of the bytes.
local function indexed(rows)
  local number, colours, lines, count = {}, {}, {}, 0
  for y, row in ipairs(rows) do
    local line = {}
    for x, p in ipairs(row) do
      if not number[p] then
        if count == 256 then return nil end
        number[p], colours[count + 1], count = string.char(count), p, count + 1
      end
      line[x] = number[p]
    end
    lines[y] = "\0" .. table.concat(line)
  end
  return table.concat(lines), table.concat(colours)
end

function Canvas:write(path)
  local data, palette = indexed(self.rows)
  if not data then
    local lines = {}
    for y, row in ipairs(self.rows) do lines[y] = "\0" .. table.concat(row) end
    data = table.concat(lines)
  end
  core.write_file(path, "\137PNG\r\n\26\n" .. chunk("IHDR", big_endian(self.w) .. big_endian(self.h) .. (palette and "\8\3\0\0\0" or "\8\2\0\0\0")) ..
    (palette and chunk("PLTE", palette) or "") .. chunk("IDAT", stored(data)) .. chunk("IEND", ""))
end

return png_canvas
