-- CLIP (Radford et al., 2021): a text tower and a vision tower whose projected answers share one space.
-- Entries encode_text and encode_image; each answers with its projection as `pooled`.
local config = require "perilune.families.config"
local tower = require "perilune.families.tower"
local two_towers = require "perilune.models.two_towers"

local clip = {
  name = "clip",
  model_types = { "clip" },
  architectures = { CLIPModel = "base" },
  padding = "right",
  tokenizers = { "bpe" },
  embedding = two_towers.embedding,
  keys = { "text_config", "vision_config", "text_config_dict", "vision_config_dict", "projection_dim", "logit_scale_init_value" },
  unused = two_towers.unused,
  embed = two_towers.embed,
}

local text_defaults = { hidden_size = 512, intermediate_size = 2048, num_hidden_layers = 12, num_attention_heads = 8, hidden_act = "quick_gelu",
  layer_norm_eps = 1e-5, max_position_embeddings = 77, vocab_size = 49408 }
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
  local c = two_towers.config(json, text_defaults, vision_defaults, 1)
  c.text.mask, c.eos = "causal", end_of_text(tower.part(json, "text_config"), c.axes.vocab)
  c.projected = config.integer(json, "projection_dim", 512)
  c.preprocessing = { size = { shortest_edge = c.vision.height }, resample = 3, do_center_crop = true,
    crop_size = { height = c.vision.height, width = c.vision.width }, image_mean = { 0.48145466, 0.4578275, 0.40821073 },
    image_std = { 0.26862954, 0.26130258, 0.27577711 } }
  return c
end

clip.encode_text = two_towers.encode_text

function clip.encode_image(net, batch)
  local c, image = net.config, two_towers.image(net)
  local x = image:patches(batch.pixels, "embeddings.patch_embedding", "hidden", { size = c.vision.patch_size })
  x = image:prepend(x, "embeddings.class_embedding")
  x = x + image:embedding(image:positions(x), "embeddings.position_embedding")
  x = image:mark("embeddings", image:layer_norm(x, "pre_layrnorm", c.vision.norm_eps))
  return two_towers.image_layers(image, x)
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

return clip
