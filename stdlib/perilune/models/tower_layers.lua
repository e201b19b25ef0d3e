-- The layers of a tower that reads pictures or short texts: layer norm before each half, biases
-- everywhere, as CLIP, SigLIP and ViT have them. Rows may be tokens or patches.

--- x through the layers of a scope; marks layers.N below it.
---@param net table a scope whose axes are the tower's
---@param x userdata [token, hidden]
---@param tower table { layers=, norm_eps=, activation=, mask="none"|"causal" }
---@param names table what a layer's modules are called: layer, before, query, key, value, joined, after, up, down
---@return userdata x
local function tower_layers(net, x, tower, names)
  for i = 0, tower.layers - 1 do
    local layer = net:scope(names.layer .. i, "layers." .. i)
    local h = layer:layer_norm(x, names.before, tower.norm_eps)
    local q = layer:linear(h, names.query, { "head", "head_dim" }, { bias = tower.qkv_bias })
    local k = layer:linear(h, names.key, { "kv_head", "head_dim" }, { bias = tower.qkv_bias })
    local v = layer:linear(h, names.value, { "kv_head", "head_dim" }, { bias = tower.qkv_bias })
    local a = layer:attention(q, layer:uncached(k, v), { mask = tower.mask })
    x = x + layer:mark("attention", layer:linear(a, names.joined, "hidden", { over = { "head", "head_dim" }, bias = true }))
    h = layer:layer_norm(x, names.after, tower.norm_eps)
    h = layer:activation(layer:linear(h, names.up, "ffn", { bias = true }), tower.activation)
    x = layer:mark(x + layer:mark("mlp", layer:linear(h, names.down, "hidden", { bias = true })))
  end
  return x
end

return tower_layers
