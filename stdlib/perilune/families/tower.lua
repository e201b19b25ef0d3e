-- Reading the towers of config.json: a vision model's sizes, and those of a text model beside it.
local config = require "perilune.families.config"
local raise = require "perilune.base.raise"

local tower = {}

--- A part of config.json as an object of its own ("vision_config"); an absent one is all defaults.
---@param json table
---@param key string
---@return table
function tower.part(json, key)
  local part = json[key]
  if part == nil then return {} end
  if type(part) ~= "table" or part[1] ~= nil then raise("format", "load", ("config.json: %s must be an object"):format(key)) end
  return part
end

--- The sizes of layers that vision and text towers share.
---@param json table
---@param d table what a file may leave out: hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, hidden_act,
--- layer_norm_eps
---@return table { layers=, norm_eps=, activation=, axes= }
function tower.sizes(json, d)
  local hidden = config.integer(json, "hidden_size", d.hidden_size)
  local heads = config.integer(json, "num_attention_heads", d.num_attention_heads)
  return {
    layers = config.layers(json, "num_hidden_layers", d.num_hidden_layers),
    norm_eps = config.epsilon(json, "layer_norm_eps", d.layer_norm_eps),
    activation = config.activation(json, "hidden_act", d.hidden_act),
    qkv_bias = true,
    axes = { hidden = hidden, ffn = config.integer(json, "intermediate_size", d.intermediate_size), head = heads, kv_head = heads,
      head_dim = config.head_dim(hidden, heads, "hidden_size", "num_attention_heads") },
  }
end

-- image_size: a number, or { height, width }.
local function picture_size(json, default)
  local given = json.image_size
  if type(given) ~= "table" then
    local size = config.integer(json, "image_size", default)
    return size, size
  end
  if #given ~= 2 then config.integer(json, "image_size") end
  return config.integer({ ["image_size[1]"] = given[1] }, "image_size[1]"), config.integer({ ["image_size[2]"] = given[2] }, "image_size[2]")
end

--- A vision tower: also its picture's sizes and how many patches those make.
---@param json table
---@param d table as in sizes, with image_size, patch_size and num_channels
---@return table tower { …, patch_size=, patches=, grid=, channel=, height=, width=, mask="none" }
function tower.vision(json, d)
  local c = tower.sizes(json, d)
  local height, width = picture_size(json, d.image_size)
  local patch, size = config.integer(json, "patch_size", d.patch_size), math.min(height, width)
  if size < patch then raise("shape", "load", ("config.json: image_size %d is less than patch_size %d"):format(size, patch)) end
  local rows, columns = math.floor(height / patch), math.floor(width / patch)   -- what is left over is not looked at, as published
  c.mask, c.patch_size, c.patches = "none", patch, rows * columns
  c.grid = { rows = rows, columns = columns, before = 0, patch = patch }   -- before: entries in front of a picture's patches
  c.channel, c.height, c.width = config.integer(json, "num_channels", d.num_channels or 3), height, width
  return c
end

return tower
