-- SigLIP (Zhai et al., 2023): two towers whose answers are compared one by one; the picture's is read by a query that
-- attends to its patches. Texts are padded to the model's positions, as it was trained.
local config = require "perilune.families.config"
local tower = require "perilune.families.tower"
local tower_layers = require "perilune.models.tower_layers"

local siglip = {
  name = "siglip",
  model_types = { "siglip" },
  architectures = { SiglipModel = "base" },
  padding = "right",
  tokenizers = { "sentencepiece", "unigram" },
  embedding = "text_model.embeddings.token_embedding",
  keys = { "text_config", "vision_config" },
  unused = { "*.position_ids" },
}

local defaults = { hidden_size = 768, intermediate_size = 3072, num_hidden_layers = 12, num_attention_heads = 12,
  hidden_act = "gelu_pytorch_tanh", layer_norm_eps = 1e-6, image_size = 224, patch_size = 16 }

--- @param json table
--- @return table c
function siglip.config(json)
  local text_json = tower.part(json, "text_config")
  local text, vision = tower.sizes(text_json, defaults), tower.vision(tower.part(json, "vision_config"), defaults)
  local positions, vocab = config.integer(text_json, "max_position_embeddings", 64), config.integer(text_json, "vocab_size", 32000)
  text.mask = "none"
  local axes = { vocab = vocab, channel = vision.channel, height = vision.height, width = vision.width, one = 1 }
  for axis, size in pairs(text.axes) do axes[axis] = size end
  return {
    layers = text.layers, axes = axes, text = text, vision = vision, max_tokens = positions, sigmoid = true,
    pad_texts = config.integer(text_json, "pad_token_id", 1, 0),
    projected = config.integer(text_json, "projection_size", text.axes.hidden), picture_tokens = vision.patches, grid = vision.grid,
    rows = { ["text_model.embeddings.position_embedding"] = { "max_position_embeddings", positions },
      ["vision_model.embeddings.position_embedding"] = { "image_size / patch_size squared", vision.patches } },
    preprocessing = { size = { height = vision.height, width = vision.width }, resample = 3, image_mean = { 0.5, 0.5, 0.5 },
      image_std = { 0.5, 0.5, 0.5 } },
  }
end

function siglip.weights()
  local attention = "vision_model.head.attention"
  return {
    [attention .. ".in_proj_weight"] = { rename = attention .. ".in_proj.weight" },
    [attention .. ".in_proj_bias"] = { rename = attention .. ".in_proj.bias" },
    [attention .. ".in_proj"] = { split = { "q", "k", "v" } },
  }
end

local modules = { layer = "encoder.layers.", before = "layer_norm1", query = "self_attn.q_proj", key = "self_attn.k_proj",
  value = "self_attn.v_proj", joined = "self_attn.out_proj", after = "layer_norm2", up = "mlp.fc1", down = "mlp.fc2" }

-- A tower with a picture's sizes.
local function image_scope(net) return net:scope("vision_model", "image", { axes = net.config.vision.axes }) end

function siglip.encode_text(net, batch)
  local c = net.config
  local text = net:scope("text_model", "text")
  local x = text:embedding(batch.ids, "embeddings.token_embedding") + text:embedding(batch.positions, "embeddings.position_embedding")
  x = tower_layers(text, text:mark("embeddings", x), c.text, modules)
  return text:layer_norm(x, "final_layer_norm", c.text.norm_eps)
end

function siglip.encode_image(net, batch)
  local c, image = net.config, image_scope(net)
  local x = image:patches(batch.pixels, "embeddings.patch_embedding", "hidden", { size = c.vision.patch_size, bias = true })
  x = image:mark("embeddings", x + image:embedding(image:positions(x), "embeddings.position_embedding"))
  x = tower_layers(image, x, c.vision, modules)
  return image:layer_norm(x, "post_layernorm", c.vision.norm_eps)
end

-- The picture's vector: one learned query that attends to all patches.
local function probed(net, x)
  local c, head = net.config, image_scope(net):scope("head", "head")
  local probe = head:select(head:prepend(x, "probe"), "first")
  local q = head:linear(probe, "attention.in_proj.q", { "head", "head_dim" }, { bias = true })
  local k = head:linear(x, "attention.in_proj.k", { "kv_head", "head_dim" }, { bias = true })
  local v = head:linear(x, "attention.in_proj.v", { "kv_head", "head_dim" }, { bias = true })
  local a = head:attention(q, head:uncached(k, v), { mask = "none" })
  a = head:linear(a, "attention.out_proj", "hidden", { over = { "head", "head_dim" }, bias = true })
  local h = head:layer_norm(a, "layernorm", c.vision.norm_eps)
  h = head:activation(head:linear(h, "mlp.fc1", "ffn", { bias = true }), c.vision.activation)
  return a + head:linear(h, "mlp.fc2", "hidden", { bias = true })
end

siglip.heads = {
  base = function(net, x, _, entry)
    net:tensor("logit_scale", { "one" })   -- of a text and a picture together
    net:tensor("logit_bias", { "one" })
    if entry == "encode_image" then return { last_hidden_state = x, pooled = probed(net, x) } end
    local projection = net:scope("text_model", "", { axes = { hidden = net.config.projected } })
    return { last_hidden_state = x, pooled = projection:linear(net:select(x, "last"), "head", "hidden", { bias = true }) }
  end,
}

siglip.embed = { pooling = "pooled", normalize = true }

return siglip
