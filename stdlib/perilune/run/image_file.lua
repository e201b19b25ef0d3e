-- pl.image and pl.resize_image: pictures as tensors.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"

local image_file = {}

--- A picture of a PNG or JPEG file, or of such a file's bytes.
---
---     local image = pl.image "tests/golden/clip-plain/picture.png"
---     print(image.shape)                                                    --> [height=48, width=64, channel=3]
---@param file string a path, or the bytes of a PNG or JPEG file
---@return Tensor u8 [height, width, channel=3]: red, green, blue
function image_file.image(file)
  if type(file) ~= "string" then raise("argument", "image", "expected the path of a PNG or JPEG file, got " .. options.show(file)) end
  if file:find("^\137PNG\r\n") or file:find "^\255\216\255" then return core.image("bytes of a picture", file) end
  return core.image(file)
end

--- A picture in another size, as Pillow resizes: antialiased where it becomes smaller.
---
---     local image = pl.image "tests/golden/clip-plain/picture.png"
---     print(pl.resize_image(image, { height = 24, width = 32 }).shape)      --> [height=24, width=32, channel=3]
---@param image Tensor u8 [height, width, channel=3]
---@param opts table { height=, width=, filter="bicubic"|"bilinear"|"lanczos"|"box"|"hamming"|"nearest" }
---@return Tensor u8 [height, width, channel=3]
function image_file.resize_image(image, opts)
  local o = options.check(opts, { height = "positive", width = "positive",
    filter = { "bicubic", "bilinear", "lanczos", "box", "hamming", "nearest" } }, "resize_image")
  if not o.height or not o.width then raise("option", "resize_image", "options height and width must be given") end
  return core.resize_image(image, o.height, o.width, o.filter or "bicubic")
end

return image_file
