-- What a model's pictures go through before it: preprocessor_config.json, or what its family does where
-- there is none.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"

local preprocessor = {}

local file = "preprocessor_config.json"
local filters = { [0] = "nearest", "lanczos", "bilinear", "bicubic", "box", "hamming" }   -- by Pillow's numbers

local function bad(key, what, value)
  raise("format", "load", ("%s: %s must be %s, got %s"):format(file, key, what, value == nil and "nothing" or options.show(value)))
end

local function whole(key, value)
  if type(value) ~= "number" or value % 1 ~= 0 or value < 1 or value > 65535 then bad(key, "a whole number from 1 to 65535", value) end
  return value
end

-- { height=, width= }, or { shortest_edge= } where pictures keep their form; a number is what the family's own form says.
local function read_size(key, value, own)
  if type(value) == "number" then
    whole(key, value)
    if own.shortest_edge then return { shortest_edge = value } end
    return { height = value, width = value }
  end
  if type(value) ~= "table" then bad(key, "a number, { height, width } or { shortest_edge }", value) end
  if value.shortest_edge ~= nil and value.longest_edge == nil then
    return { shortest_edge = whole(key .. ".shortest_edge", value.shortest_edge) }
  end
  if value.longest_edge ~= nil then raise("unsupported", "load", ("%s: %s.longest_edge is not supported"):format(file, key)) end
  return { height = whole(key .. ".height", value.height), width = whole(key .. ".width", value.width) }
end

local function read_flag(json, key, default)
  local value = json[key]
  if value == nil then return default end
  if type(value) ~= "boolean" then bad(key, "true or false", value) end
  return value
end

local function read_factor(value)
  if value == nil then return 1 / 255 end
  if type(value) ~= "number" or value <= 0 or value == math.huge then bad("rescale_factor", "a number above 0", value) end
  return value
end

-- A number for each channel, or one for all.
local function read_channels(key, value, count, positive)
  local list = type(value) == "number" and {} or value
  if type(value) == "number" then for i = 1, count do list[i] = value end end
  if type(list) ~= "table" or #list ~= count then bad(key, ("%d numbers"):format(count), value) end
  for _, number in ipairs(list) do
    if type(number) ~= "number" or number ~= number or math.abs(number) == math.huge or positive and number <= 0 then
      bad(key, positive and "numbers above 0" or "numbers", number)
    end
  end
  return list
end

-- Steps of other preprocessors that would change what a model sees.
local function refuse_others(json)
  for _, key in ipairs { "do_pad", "do_flip_channel_order", "do_thumbnail", "do_align_long_axis", "do_reduce_labels", "crop_pct", "size_divisor" } do
    if json[key] ~= nil and json[key] ~= false then
      raise("unsupported", "load", ("%s: %s = %s is not supported"):format(file, key, options.show(json[key])),
        "prepare the pictures in a script and give { pixels = tensor }")
    end
  end
end

--- What a picture goes through.
---@param json table preprocessor_config.json as read
---@param own table what the family does where the file is silent, in the file's words
---@param channels integer
---@return table { resize=|nil, filter=, crop=|nil, rescale=|nil, mean=|nil, std=|nil }
function preprocessor.read(json, own, channels)
  refuse_others(json)
  local recipe = {}
  local size = json.size ~= nil and json.size or own.size
  if read_flag(json, "do_resize", true) then recipe.resize = read_size("size", size, own.size) end
  local number = json.resample ~= nil and json.resample or own.resample
  recipe.filter = filters[number] or bad("resample", "a number from 0 to 5", number)
  if read_flag(json, "do_center_crop", own.do_center_crop or false) then
    local crop = json.crop_size ~= nil and json.crop_size or own.crop_size or size
    recipe.crop = read_size("crop_size", crop, { height = 1 })
    if recipe.crop.shortest_edge then recipe.crop = { height = recipe.crop.shortest_edge, width = recipe.crop.shortest_edge } end
  end
  if read_flag(json, "do_rescale", true) then recipe.rescale = read_factor(json.rescale_factor) end
  if read_flag(json, "do_normalize", true) then
    recipe.mean = read_channels("image_mean", json.image_mean ~= nil and json.image_mean or own.image_mean, channels)
    recipe.std = read_channels("image_std", json.image_std ~= nil and json.image_std or own.image_std, channels, true)
  end
  return recipe
end

-- What a file says, with pictures of another size: one that keeps its form covers it.
local function resized(json, own, size)
  local out = {}
  for key, value in pairs(json) do out[key] = value end
  local kept = json.size ~= nil and json.size or own.size
  local covers = type(kept) == "table" and kept.shortest_edge ~= nil or type(kept) == "number" and own.size.shortest_edge ~= nil
  out.size = covers and { shortest_edge = math.max(size.height, size.width) } or size
  out.crop_size = size
  return out
end

--- The recipe of a loaded model, read when it is first asked for.
---@param s table
---@param op string
---@return table
function preprocessor.of(s, op)
  if s.picture_recipe then return s.picture_recipe end
  local own = s.c.preprocessing
  if not own then
    raise("unsupported", op, ("family %s says nothing of how pictures are prepared"):format(s.family.name),
      "give { pixels = tensor [channel, height, width] }")
  end
  local path, json = s.path .. "/" .. file, {}
  if core.file_exists(path) then
    json = core.json(core.read_file(path, 2 ^ 20), path)
    if type(json) ~= "table" then raise("format", op, path .. " must hold a JSON object") end
  else
    local text = ("no %s: pictures are prepared as family %s does"):format(file, s.family.name)
    s.warnings[#s.warnings + 1] = text
    core.warn(text, op)
  end
  if s.picture_size then json = resized(json, own, s.picture_size) end
  s.picture_recipe = preprocessor.read(json, own, s.c.axes.channel)
  return s.picture_recipe
end

return preprocessor
