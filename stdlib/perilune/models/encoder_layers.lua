-- The layers of BERT and of what follows its plan: attention that sees both sides, then a feed-forward, with
-- a layer norm after each.

---@param net Net
---@param x Tensor
---@param names table what the checkpoint calls its modules: layer= (before the number), query=, key=, value=, joined=,
--- attention_norm=, up=, down=, norm=
---@return Tensor
local function encoder_layers(net, x, names)
  local c = net.config
  for i = 0, c.layers - 1 do
    local layer = net:scope(names.layer .. i, "layers." .. i)
    local q = layer:linear(x, names.query, { "head", "head_dim" }, { bias = true })
    local k = layer:linear(x, names.key, { "kv_head", "head_dim" }, { bias = true })
    local v = layer:linear(x, names.value, { "kv_head", "head_dim" }, { bias = true })
    local a = layer:attention(q, layer:uncached(k, v), { mask = "none" })
    a = layer:mark("attention", layer:linear(a, names.joined, "hidden", { over = { "head", "head_dim" }, bias = true }))
    x = layer:layer_norm(x + a, names.attention_norm, c.norm_eps)
    local h = layer:activation(layer:linear(x, names.up, "ffn", { bias = true }), c.activation)
    h = layer:mark("mlp", layer:linear(h, names.down, "hidden", { bias = true }))
    x = layer:mark(layer:layer_norm(x + h, names.norm, c.norm_eps))
  end
  return x
end

return encoder_layers
