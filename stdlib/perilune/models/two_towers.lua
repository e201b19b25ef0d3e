-- What CLIP and SigLIP share: a text tower beside a vision tower, their modules and their sizes.
local config = require "perilune.families.config"
local tower = require "perilune.families.tower"
local tower_layers = require "perilune.models.tower_layers"

local two_towers = {
  positions = "vision_model.embeddings.position_embedding",
  embedding = "text_model.embeddings.token_embedding",
  unused = { "*.position_ids" },
  embed = { pooling = "pooled", normalize = true },   -- as published: projected and of length 1
}

local modules = { layer = "encoder.layers.", before = "layer_norm1", query = "self_attn.q_proj", key = "self_attn.k_proj",
  value = "self_attn.v_proj", joined = "self_attn.out_proj", after = "layer_norm2", up = "mlp.fc1", down = "mlp.fc2" }

--- The sizes of both towers.
---@param json table config.json
---@param text_defaults table what text_config may leave out: as in tower.sizes, with max_position_embeddings and vocab_size
---@param vision_defaults table what vision_config may leave out: as in tower.vision
---@param before integer entries in front of a picture's patches
---@return table c { layers=, axes=, text=, vision=, max_tokens=, picture_tokens=, grid=, rows= }
function two_towers.config(json, text_defaults, vision_defaults, before)
  local text_json = tower.part(json, "text_config")
  local text, vision = tower.sizes(text_json, text_defaults), tower.vision(tower.part(json, "vision_config"), vision_defaults)
  local positions = config.integer(text_json, "max_position_embeddings", text_defaults.max_position_embeddings)
  local axes = { vocab = config.integer(text_json, "vocab_size", text_defaults.vocab_size), channel = vision.channel, height = vision.height,
    width = vision.width }
  for axis, size in pairs(text.axes) do axes[axis] = size end
  vision.grid.before = before
  return {
    layers = text.layers, axes = axes, text = text, vision = vision, max_tokens = positions, picture_tokens = vision.patches + before,
    grid = vision.grid,
    position_table = { part = "vision_config", name = two_towers.positions .. ".weight", axes = { "position", "hidden" } },
    rows = { ["text_model.embeddings.position_embedding"] = { "max_position_embeddings", positions },
      [two_towers.positions] = { "image_size / patch_size squared", vision.patches, before } },
  }
end

--- A text through its tower.
function two_towers.encode_text(net, batch)
  local c = net.config
  local text = net:scope("text_model", "text")
  local x = text:embedding(batch.ids, "embeddings.token_embedding") + text:embedding(batch.positions, "embeddings.position_embedding")
  x = tower_layers(text, text:mark("embeddings", x), c.text, modules)
  return text:layer_norm(x, "final_layer_norm", c.text.norm_eps)
end

--- The scope of the vision tower, with a picture's sizes.
---@param net table
---@return table image
function two_towers.image(net) return net:scope("vision_model", "image", { axes = net.config.vision.axes }) end

--- x through the layers of the vision tower.
---@param image table its scope
---@param x userdata [patch, hidden]
---@return userdata x
function two_towers.image_layers(image, x) return tower_layers(image, x, image.config.vision, modules) end

return two_towers
