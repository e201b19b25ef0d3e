-- Pictures as inputs of a model: files, bytes or tensors through the model's preprocessing into a batch,
-- and answers back in the layout of published models: [batch, patch, …].
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local kind = require "perilune.base.kind"
local preprocessor = require "perilune.loaded.preprocessor"
local image_file = require "perilune.run.image_file"

local pictures = {}

-- Height and width after resizing. The published code rounds the longer side down.
local function new_sizes(size, height, width)
  if size.height then return size.height, size.width end
  local short, long = math.min(height, width), math.max(height, width)
  local longer = math.floor(size.shortest_edge * long / short)
  if height <= width then return size.shortest_edge, longer end
  return longer, size.shortest_edge
end

-- The middle of a picture [height, width, channel]; black where it is smaller.
local function cropped(image, crop)
  local height, width = image:size "height", image:size "width"
  local top, left = math.floor((height - crop.height) / 2), math.floor((width - crop.width) / 2)
  if top >= 0 and left >= 0 then
    return image:at { height = { top + 1, top + crop.height }, width = { left + 1, left + crop.width } }
  end
  local out = core.zeros({ crop.height, crop.width, 3 }, { dtype = "u8", axes = { "height", "width", "channel" } })
  local function common(offset, whole, wanted)   -- what both have, in each's own places
    local from, to = math.max(0, offset), math.max(0, -offset)
    local count = math.min(whole - from, wanted - to)
    return { from + 1, from + count }, { to + 1, to + count }
  end
  local rows, into_rows = common(top, height, crop.height)
  local columns, into_columns = common(left, width, crop.width)
  out:set(image:at { height = rows, width = columns }, { height = into_rows, width = into_columns })
  return out
end

local function per_channel(list) return core.tensor(list, { dtype = "f32", axes = { "channel" } }) end

--- A picture as the model is to see it.
---@param recipe table as preprocessor.read gives it
---@param image Tensor u8 [height, width, channel]
---@return Tensor f32 [channel, height, width]
function pictures.prepared(recipe, image)
  if recipe.resize then
    local height, width = new_sizes(recipe.resize, image:size "height", image:size "width")
    image = core.resize_image(image, height, width, recipe.filter)
  end
  if recipe.crop then image = cropped(image, recipe.crop) end
  local x = image:order("channel", "height", "width"):to "f32"
  if recipe.rescale then x = x * recipe.rescale end
  if recipe.mean then x = (x - per_channel(recipe.mean)) / per_channel(recipe.std) end
  return x
end

local function is_tensor(value) return kind.of(value) == "Tensor" end

-- One picture, whatever it was given as.
local function pixels_of(s, image, op, what)
  if type(image) == "string" then image = image_file.image(image) end
  if not is_tensor(image) then
    raise("argument", op, ("%s: expected a file's path, its bytes or a tensor u8 [height, width, channel], got %s"):format(what, options.show(image)))
  end
  local x = pictures.prepared(preprocessor.of(s, op), image)
  for _, axis in ipairs { "channel", "height", "width" } do
    if x:size(axis) ~= s.c.axes[axis] then
      raise("shape", op, ("%s: a picture prepared as %s is not the model's: %s=%d"):format(what, tostring(x.shape), axis, s.c.axes[axis]),
        s.c.position_table and "load it for pictures of that size: pl.load(path, { interpolate_pos_encoding = true })" or nil)
    end
  end
  return x
end

-- Prepared pixels: one tensor [channel, height, width] or [batch, …], or a list of either.
local function add_pixels(list, given, op)
  if is_tensor(given) then
    list[#list + 1] = given
  elseif kind.is_list(given) and #given > 0 then
    for _, each in ipairs(given) do add_pixels(list, each, op) end
  else
    raise("argument", op, "pixels: expected a tensor [channel, height, width] or a list of them, got " .. options.show(given))
  end
end

local function is_one(value) return type(value) == "table" and not kind.of(value) and (value.image ~= nil or value.pixels ~= nil) end

--- Whether an input is of pictures: { image= }, { pixels= }, or a list of these.
---@param input any
---@return boolean
function pictures.are(input)
  return is_one(input) or kind.is_list(input) and is_one(input[1])
end

--- Whether such an input is one picture, not a list.
---@param input any
---@return boolean
function pictures.single(input)
  if not is_one(input) then return false end
  if input.image ~= nil then return not kind.is_list(input.image) end
  return is_tensor(input.pixels) and input.pixels.rank == 3
end

-- Pixels of every picture of { image= } or { pixels= }.
local function collect(s, given, list, op, what)
  if given.text ~= nil or given.ids ~= nil then
    raise("argument", op, "texts and pictures together are for m:forward", "give one of the two")
  end
  options.check(given, { image = "any", pixels = "any" }, op)
  if given.image ~= nil and given.pixels ~= nil then
    raise("argument", op, what .. ": image and pixels contradict each other", "image is prepared, pixels are taken as they are")
  end
  if given.pixels ~= nil then return add_pixels(list, given.pixels, op) end
  local images = kind.is_list(given.image) and given.image or { given.image }
  if #images == 0 then raise("argument", op, what .. ": no pictures") end
  for i, image in ipairs(images) do
    list[#list + 1] = pixels_of(s, image, op, #images > 1 and ("picture %d"):format(i) or what)
  end
end

-- How answers about pictures go out: each has the same number of patches.
local Layout = {}
Layout.__index = Layout

--- [patch, …] as [batch, patch, …], attention weights [patch, head, key] as [batch, head, query, key]; others as they are.
---@param t Tensor
---@return Tensor
function Layout:pad(t)
  if t.shape[1].name ~= "patch" then return t end
  local n = self.count
  if t.rank == 3 and t.shape[2].name == "head" and t.shape[3].name == "key" then
    return t:detach():split_axis("patch", { "batch", "query" }, { batch = n }):order("batch", "head", "query", "key")
  end
  return t:detach():split_axis("patch", { "batch", "patch" }, { batch = n })
end

--- Pictures as a batch.
---@param m table
---@param input any what pictures.are says yes to
---@param op string
---@return Batch
---@return table layout with :pad
function pictures.batch(m, input, op)
  local s, list = rawget(m, "state_"), {}
  if not s.c.axes.channel then
    raise("argument", op, ("a %s model reads no pictures"):format(s.family.name), "pictures are for models such as clip and vit")
  end
  if is_one(input) then
    collect(s, input, list, op, "the picture")
  else
    for i, each in ipairs(input) do
      if not is_one(each) then raise("argument", op, ("entry %d of the list: expected { image= } or { pixels= }, got %s"):format(i, options.show(each))) end
      collect(s, each, list, op, "picture " .. i)
    end
  end
  local batch = core.batch(nil, { inputs = { pixels = list } })
  return batch, setmetatable({ count = batch.size }, Layout)
end

return pictures
