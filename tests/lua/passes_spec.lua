-- How passes are run: entries by name, an encoder that changes lengths, several ragged axes, compiled
-- and line by line alike.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"
local llama = require "perilune.models.llama"

local serial = 0

local function folder_with(weights, json)
  local folder = os.tmpname()
  os.remove(folder)
  assert(os.execute(("mkdir '%s'"):format(folder)) == 0)
  if weights then pl.save(folder .. "/model.safetensors", weights) end
  core.write_file(folder .. "/config.json", core.write_json(json))
  return folder
end

local function matrix(rows, columns, seed) return pl.random({ rows, columns }, { seed = seed, low = -1, high = 1 }) end

-- Loads a family of these parts from a folder of these weights.
local function load_family(parts, weights, head, device)
  serial = serial + 1
  local name, architecture = "passes" .. serial, "Passes" .. serial .. "Model"
  local family = { name = name, model_types = { name }, architectures = { [architecture] = head or "base" },
    config = function() return { axes = { hidden = 4, vocab = 8, mel = 3, head = 2, head_dim = 2 }, max_tokens = 16, max_source = 16 } end,
    heads = { base = function(_, x) return { last_hidden_state = x } end } }
  for key, value in pairs(parts) do family[key] = value end
  pl.family(family)
  local folder = folder_with(weights, { model_type = name, architectures = { architecture } })
  local fine, m = pcall(pl.load, folder, { compute = "f32", mmap = false, device = device or "cpu" })
  os.execute(("rm -r '%s'"):format(folder))
  if not fine then error(m, 0) end
  return m
end

t.test("positions that a pass makes by itself: line by line as compiled, whenever the collector runs", function()
  local family = {}
  for key, value in pairs(llama) do family[key] = value end
  family.name, family.model_types, family.architectures, family.gguf = "moth", { "moth" }, { MothForCausalLM = "causal" }, nil
  function family.decode(net, batch)
    local c = net.config
    local x = net:embedding(batch.ids, "embed_tokens")
    for i = 0, c.layers - 1 do
      local layer = net:scope("layers." .. i, "layers." .. i)
      local h = layer:rms_norm(x, "input_layernorm", c.norm_eps)
      local q = layer:rope(layer:linear(h, "self_attn.q_proj", { "head", "head_dim" }), net:positions(x) + 7, c.rope)
      collectgarbage() collectgarbage()
      local k = layer:rope(layer:linear(h, "self_attn.k_proj", { "kv_head", "head_dim" }), net:positions(x) + 0, c.rope)
      collectgarbage() collectgarbage()
      local kv = layer:cached(k, layer:linear(h, "self_attn.v_proj", { "kv_head", "head_dim" }))
      x = x + layer:linear(layer:attention(q, kv, { mask = "causal" }), "self_attn.o_proj", "hidden", { over = { "head", "head_dim" } })
      h = layer:rms_norm(x, "post_attention_layernorm", c.norm_eps)
      local gate = layer:activation(layer:linear(h, "mlp.gate_proj", "ffn"), c.activation) * layer:linear(h, "mlp.up_proj", "ffn")
      x = layer:mark(x + layer:linear(gate, "mlp.down_proj", "hidden"))
    end
    return net:rms_norm(x, "norm", c.norm_eps)
  end
  pl.family(family)
  local json = core.read_json "tests/golden/llama-gqa/config.json"
  json.model_type, json.architectures = "moth", { "MothForCausalLM" }
  local folder = folder_with(nil, json)
  assert(os.execute(("cp tests/golden/llama-gqa/*.safetensors '%s'"):format(folder)) == 0)
  local m = pl.load(folder, { compute = "f32", tokenizer = false, device = "cpu", mmap = false })
  os.execute(("rm -r '%s'"):format(folder))
  local ids = { { 5, 9, 3, 17, 2, 8, 11 } }
  t.ok(m:eager():forward(ids, { rows = "all" }).logits:equal(m:forward(ids, { rows = "all" }).logits))
end)

-- An encoder that keeps the last token of a source, and a decoder that looks at it.
local function last_token_model()
  local weights = { ["embed.weight"] = matrix(8, 4, 1) }
  for i, name in ipairs { "q", "k", "v", "o" } do weights[name .. ".weight"] = matrix(4, 4, i + 1) end
  weights["lm_head.weight"] = matrix(8, 4, 9)
  return load_family({
    encode = function(net, batch) return net:select(net:embedding(batch.ids, "embed"), "last") end,
    cross = function(net, encoded)
      net:scope("", "layers.0"):cached(net:linear(encoded, "k", { "head", "head_dim" }), net:linear(encoded, "v", { "head", "head_dim" }), { kind = "cross" })
    end,
    decode = function(net, batch)
      local x = net:embedding(batch.ids, "embed")
      local q = net:linear(x, "q", { "head", "head_dim" })
      return x + net:linear(net:attention(q, net:scope("", "layers.0"):cross(), { mask = "none" }), "o", "hidden", { over = { "head", "head_dim" } })
    end,
    heads = { seq2seq = function(net, x) return net:head(x, "lm_head", "vocab", {}) end },
  }, weights, "seq2seq")
end

t.test("an encoder that changes the length of rows: forward, eager and requests agree", function()
  local m = last_token_model()
  local source, decoder = { { 1, 2, 3, 4 }, { 5 } }, { { 0, 6 }, { 0 } }
  local out = m:forward(source, { decoder = decoder, rows = "all" })
  t.equal(tostring(out.encoder_last.shape), "[batch=2, hidden=4]")
  t.ok(m:eager():forward(source, { decoder = decoder, rows = "all" }).logits:equal(out.logits))
  local rows = out.batch:split(out.logits)
  t.ok(m:forward({ { 7, 7, 4 } }, { decoder = { decoder[1] }, rows = "all" }).logits:equal(rows[1]), "the encoder drops all but the last token")
  t.differ(m:forward({ { 1, 2, 3, 5 } }, { decoder = { decoder[1] }, rows = "all" }).logits:tolist(), rows[1]:tolist())
  local e = pl.engine(m)
  local requests = {}
  for i = 1, 2 do requests[i] = e:submit(source[i], { decoder = decoder[i], kind = "forward" }) end
  e:drain()
  local last = m:forward(source, { decoder = decoder }).logits
  for i, request in ipairs(requests) do
    local got = request:result().outputs.logits
    t.equal(tostring(got.shape), "[batch=1, vocab=8]")
    t.equal(got:tolist()[1], last:tolist()[i])
  end
end)

t.test("entries are names: the one that finds its inputs runs", function()
  local weights = { ["embed.weight"] = matrix(8, 4, 1), ["frames.weight"] = matrix(4, 3, 2) }
  local parts = {
    encode_text = function(net, batch) return net:mark("embeddings", net:embedding(batch.ids, "embed")) end,
    encode_image = function(net, batch) return net:mark("frames", net:linear(batch.features, "frames", "hidden")) end,
  }
  local m = load_family(parts, weights)
  local frames = pl.tensor({ { 1, 2, 3 }, { 4, 5, 6 } }, { axes = { "frame", "mel" } })
  t.equal(m:forward({ { 1, 2 } }).last_hidden_state:tolist(), { weights["embed.weight"]:tolist()[2], weights["embed.weight"]:tolist()[3] })
  local image = m:forward(pl.batch(nil, { inputs = { features = { frames } } })).last_hidden_state
  t.equal(tostring(image.shape), "[frame=2, hidden=4]")
  t.equal(m:paths(), { "embeddings", "frames" })
  t.ok(m:program("encode_image")[1])
  t.raises_text(function() m:program "decode" end, "encode_text, encode_image")
  parts.entries, parts.left, parts.right = { "left", "right" }, parts.encode_text, parts.encode_image
  parts.encode_text, parts.encode_image = nil, nil
  t.ok(load_family(parts, weights):forward(pl.batch(nil, { inputs = { features = { frames } } })).last_hidden_state:equal(image))
  t.raises_text(function() pl.family { name = "x", architectures = {}, config = print, heads = {}, entries = { "nowhere" } } end, "nowhere")
end)

t.test("a batch with tokens and frames: each by rows of its own, compiled and line by line", function()
  local m = load_family({ encode = function(net, batch)
    return net:mean(net:embedding(batch.ids, "embed")) + net:mean(net:linear(batch.features, "frames", "hidden"))
  end, heads = { base = function(_, x) return { pooled = x } end } }, { ["embed.weight"] = matrix(8, 4, 1), ["frames.weight"] = matrix(4, 3, 2) })
  local frames = {}
  for i, count in ipairs { 3, 1 } do frames[i] = matrix(count, 3, 20 + i):rename { axis1 = "frame", axis2 = "mel" } end
  local b = pl.batch({ { 1 }, { 2, 3, 4, 5 } }, { inputs = { features = frames } })
  t.equal(b.inputs, { "positions", "type_ids", "ids", "features" })
  local pooled = m:forward(b).pooled
  t.equal(tostring(pooled.shape), "[batch=2, hidden=4]")
  t.ok(m:eager():forward(b).pooled:equal(pooled))
  t.equal(m:forward(b:select { 2 }).pooled:tolist()[1], pooled:tolist()[2])
  t.raises_text(function() m:forward { { 1 } } end, "features")
end)

t.test("a head nobody asked for: its shapes are nobody's error, everything else is", function()
  local weights = { ["embed.weight"] = matrix(8, 4, 1) }
  local function model(other)
    return load_family({ encode = function(net, batch) return net:embedding(batch.ids, "embed") end,
      heads = { base = function(_, x) return { last_hidden_state = x } end, sequence = other } }, weights)
  end
  t.ok(model(function(_, x) return x + pl.ones { 3 } end))
  for _, code in ipairs { "memory", "cancelled" } do
    local err = t.raises(function() model(function() core.error { code = code, message = "mine" } end) end)
    t.equal(err.code, code)
  end
  t.raises_text(function() model(function() error "a mistake" end) end, "a mistake")
end)

t.test("line by line on another device: stored tensors come to the pass", function()
  local fine, reason = pl.try(pl.load, "tests/golden/llama-gqa", { device = "emulator", compute = "f32" })
  if not fine then t.skip("device emulator: " .. tostring(reason)) end
  local m = load_family({ encode = function(net, batch)
    return net:embedding(batch.ids, "embed") * net:tensor("scale", { "hidden" }) + pl.tensor({ 1, 2, 3, 4 }, { axes = { "hidden" } })
  end }, { ["embed.weight"] = matrix(8, 4, 1), ["scale"] = pl.tensor { 1, 2, 3, 4 } }, nil, "emulator")
  t.ok(m:eager():forward({ { 1, 2 } }).last_hidden_state:equal(m:forward({ { 1, 2 } }).last_hidden_state))
end)
