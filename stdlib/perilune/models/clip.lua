-- CLIP (Radford et al., 2021): a text tower and a vision tower whose projected answers share one space.
-- Entries encode_text and encode_image; each answers with its projection as `pooled`.
local config = require "perilune.families.config"
local tower = require "perilune.families.tower"
local tower_layers = require "perilune.models.tower_layers"

local clip = {
  name = "clip",
  model_types = { "clip" },
  architectures = { CLIPModel = "base" },
  padding = "right",
  tokenizers = { "bpe" },
  embedding = "text_model.embeddings.token_embedding",
  keys = { "text_config", "vision_config", "text_config_dict", "vision_config_dict", "projection_dim", "logit_scale_init_value" },
  unused = { "*.position_ids" },
}

local text_defaults = { hidden_size = 512, intermediate_size = 2048, num_hidden_layers = 12, num_attention_heads = 8, hidden_act = "quick_gelu",
  layer_norm_eps = 1e-5 }
local vision_defaults = { hidden_size = 768, intermediate_size = 3072, num_hidden_layers = 12, num_attention_heads = 12, hidden_act = "quick_gelu",
  layer_norm_eps = 1e-5, image_size = 224, patch_size = 32 }

-- The token that a text's vector is read at. Older files say 2 for it and mean the highest id, which is their end of text.
local function end_of_text(json, vocab)
  local id = config.integer(json, "eos_token_id", vocab - 1, 0)
  return { id == 2 and vocab - 1 or id }
end

--- @param json table
--- @return table c
function clip.config(json)
  local text_json = tower.part(json, "text_config")
  local text, vision = tower.sizes(text_json, text_defaults), tower.vision(tower.part(json, "vision_config"), vision_defaults)
  local positions, vocab = config.integer(text_json, "max_position_embeddings", 77), config.integer(text_json, "vocab_size", 49408)
  text.mask, vision.grid.before = "causal", 1
  local axes = { vocab = vocab, channel = vision.channel, height = vision.height, width = vision.width }
  for axis, size in pairs(text.axes) do axes[axis] = size end
  return {
    layers = text.layers, axes = axes, text = text, vision = vision, max_tokens = positions, eos = end_of_text(text_json, vocab),
    projected = config.integer(json, "projection_dim", 512), picture_tokens = vision.patches + 1, grid = vision.grid,
    rows = { ["text_model.embeddings.position_embedding"] = { "max_position_embeddings", positions },
      ["vision_model.embeddings.position_embedding"] = { "image_size / patch_size squared", vision.patches, 1 } },
    preprocessing = { size = { shortest_edge = vision.height }, resample = 3, do_center_crop = true,
      crop_size = { height = vision.height, width = vision.width }, image_mean = { 0.48145466, 0.4578275, 0.40821073 },
      image_std = { 0.26862954, 0.26130258, 0.27577711 } },
  }
end

local modules = { layer = "encoder.layers.", before = "layer_norm1", query = "self_attn.q_proj", key = "self_attn.k_proj",
  value = "self_attn.v_proj", joined = "self_attn.out_proj", after = "layer_norm2", up = "mlp.fc1", down = "mlp.fc2" }

function clip.encode_text(net, batch)
  local c = net.config
  local text = net:scope("text_model", "text")
  local x = text:embedding(batch.ids, "embeddings.token_embedding") + text:embedding(batch.positions, "embeddings.position_embedding")
  x = tower_layers(text, text:mark("embeddings", x), c.text, modules)
  return text:layer_norm(x, "final_layer_norm", c.text.norm_eps)
end

function clip.encode_image(net, batch)
  local c = net.config
  local image = net:scope("vision_model", "image", { axes = c.vision.axes })
  local x = image:patches(batch.pixels, "embeddings.patch_embedding", "hidden", { size = c.vision.patch_size })
  x = image:prepend(x, "embeddings.class_embedding")
  x = x + image:embedding(image:positions(x), "embeddings.position_embedding")
  x = image:mark("embeddings", image:layer_norm(x, "pre_layrnorm", c.vision.norm_eps))
  return tower_layers(image, x, c.vision, modules)
end

clip.heads = {
  base = function(net, x, _, entry)
    local c = net.config
    net:tensor("logit_scale", {})   -- of a text and a picture together: forward multiplies by its exponential
    local projection = net:scope("", "", { axes = { hidden = c.projected } })
    if entry == "encode_text" then
      return { last_hidden_state = x, pooled = projection:linear(net:select(x, "eos"), "text_projection", "hidden") }
    end
    local first = net:layer_norm(net:select(x, "first"), "vision_model.post_layernorm", c.vision.norm_eps)
    return { last_hidden_state = x, pooled = projection:linear(first, "visual_projection", "hidden") }
  end,
}

--- How texts and pictures are embedded unless a caller says otherwise: as published, projected and of length 1.
clip.embed = { pooling = "pooled", normalize = true }

return clip
