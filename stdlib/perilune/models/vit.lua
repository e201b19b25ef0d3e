-- ViT (Dosovitskiy et al., 2020): pictures as rows of patches behind a class token, layer norm before each half.
local config = require "perilune.families.config"
local tower = require "perilune.families.tower"
local tower_layers = require "perilune.models.tower_layers"

local vit = {
  name = "vit",
  model_types = { "vit", "deit" },
  architectures = { ViTModel = "base", ViTForImageClassification = "sequence", DeiTModel = "base", DeiTForImageClassification = "sequence" },
  prefixes = { "vit.", "deit." },
  unused = { "embeddings.mask_token" },
  keys = { "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act", "layer_norm_eps", "image_size",
    "patch_size", "num_channels", "qkv_bias", "encoder_stride", "pooler_output_size", "pooler_act" },
}

local defaults = { hidden_size = 768, intermediate_size = 3072, num_hidden_layers = 12, num_attention_heads = 12, hidden_act = "gelu",
  layer_norm_eps = 1e-12, image_size = 224, patch_size = 16 }

--- @param json table
--- @return table c
function vit.config(json)
  local c = tower.vision(json, defaults)
  local classes, labels = config.labels(json)
  c.qkv_bias = config.boolean(json, "qkv_bias", true)
  c.pooler_activation = config.activation(json, "pooler_act", "tanh")
  config.only(json, "pooler_output_size", c.axes.hidden)
  c.deit = json.model_type == "deit"
  c.tokens = c.deit and 2 or 1   -- before the patches: of the class, and of distillation
  c.picture_tokens, c.labels, c.grid.before = c.patches + c.tokens, labels, c.tokens
  c.axes.channel, c.axes.height, c.axes.width, c.axes.class = c.channel, c.height, c.width, classes
  c.axes.one, c.axes.position = 1, c.picture_tokens
  c.position_table = { name = "embeddings.position_embeddings", axes = { "one", "position", "hidden" } }
  local mean = c.deit and { 0.485, 0.456, 0.406 } or { 0.5, 0.5, 0.5 }
  c.preprocessing = { size = c.deit and { height = 256, width = 256 } or { height = c.height, width = c.width }, resample = c.deit and 3 or 2,
    do_center_crop = c.deit, crop_size = { height = c.height, width = c.width }, image_mean = mean,
    image_std = c.deit and { 0.229, 0.224, 0.225 } or mean }
  return c
end

local modules = { layer = "encoder.layer.", before = "layernorm_before", query = "attention.attention.query", key = "attention.attention.key",
  value = "attention.attention.value", joined = "attention.output.dense", after = "layernorm_after", up = "intermediate.dense", down = "output.dense" }

function vit.encode(net, batch)
  local c = net.config
  local x = net:patches(batch.pixels, "embeddings.patch_embeddings.projection", "hidden", { size = c.patch_size, bias = true })
  if c.deit then x = net:prepend(x, "embeddings.distillation_token") end
  x = net:prepend(x, "embeddings.cls_token")
  local places = net:tensor("embeddings.position_embeddings", { "one", "position", "hidden" }):at { one = 1 }
  x = net:mark("embeddings", x + places:gather("position", net:positions(x) + 1))
  x = tower_layers(net, x, c, modules)
  return net:mark("norm", net:layer_norm(x, "layernorm", c.norm_eps))
end

vit.heads = {
  base = function(net, x)
    local pooled = net:has "pooler.dense" and net:activation(net:linear(net:select(x, "first"), "pooler.dense", "hidden", { bias = true }),
      net.config.pooler_activation) or nil
    return { last_hidden_state = x, pooled = pooled }
  end,
  sequence = function(net, x) return net:linear(net:select(x, "first"), "classifier", "class", { bias = true }) end,
}

return vit
