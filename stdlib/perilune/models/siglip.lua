-- SigLIP (Zhai et al., 2023): two towers whose answers are compared one by one; the picture's is read by a query that
-- attends to its patches. Texts are padded to the model's positions, as it was trained.
local config = require "perilune.families.config"
local tower = require "perilune.families.tower"
local two_towers = require "perilune.models.two_towers"

local siglip = {
  name = "siglip",
  model_types = { "siglip" },
  architectures = { SiglipModel = "base" },
  padding = "right",
  tokenizers = { "sentencepiece", "unigram" },
  embedding = two_towers.embedding,
  keys = { "text_config", "vision_config" },
  unused = two_towers.unused,
  embed = two_towers.embed,
}

local defaults = { hidden_size = 768, intermediate_size = 3072, num_hidden_layers = 12, num_attention_heads = 12,
  hidden_act = "gelu_pytorch_tanh", layer_norm_eps = 1e-6, image_size = 224, patch_size = 16, max_position_embeddings = 64,
  vocab_size = 32000 }

--- @param json table
--- @return table c
function siglip.config(json)
  local text_json = tower.part(json, "text_config")
  local c = two_towers.config(json, defaults, defaults, 0)
  c.text.mask, c.axes.one, c.sigmoid = "none", 1, true
  c.pad_texts = config.integer(text_json, "pad_token_id", 1, 0)
  c.projected = config.integer(text_json, "projection_size", c.text.axes.hidden)
  c.preprocessing = { size = { height = c.vision.height, width = c.vision.width }, resample = 3, image_mean = { 0.5, 0.5, 0.5 },
    image_std = { 0.5, 0.5, 0.5 } }
  return c
end

function siglip.weights()
  local attention = "vision_model.head.attention"
  return {
    [attention .. ".in_proj_weight"] = { rename = attention .. ".in_proj.weight" },
    [attention .. ".in_proj_bias"] = { rename = attention .. ".in_proj.bias" },
    [attention .. ".in_proj"] = { split = { "q", "k", "v" } },
  }
end

siglip.encode_text = two_towers.encode_text

function siglip.encode_image(net, batch)
  local c, image = net.config, two_towers.image(net)
  local x = image:patches(batch.pixels, "embeddings.patch_embedding", "hidden", { size = c.vision.patch_size, bias = true })
  x = image:mark("embeddings", x + image:embedding(image:positions(x), "embeddings.position_embedding"))
  x = two_towers.image_layers(image, x)
  return image:layer_norm(x, "post_layernorm", c.vision.norm_eps)
end

-- The picture's vector: one learned query that attends to all patches.
local function probed(net, x)
  local c, head = net.config, two_towers.image(net):scope("head", "head")
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

return siglip
