-- Families of a script, to the letter of the Lua surface, on small models made here.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"

local serial = 0

-- Writes a folder with these weights and loads it with a family made of `parts`.
local function load_family(parts, weights, json, keep)
  serial = serial + 1
  local name = "script" .. serial
  local made = { name = name, model_types = { name }, architectures = { ["Script" .. serial .. "Model"] = "base" }, padding = "right",
    keys = { "hidden_size", "vocab_size" },
    config = function() return { layers = 1, axes = { hidden = 4, vocab = 6, ffn = 8, head = 2, head_dim = 2 }, max_tokens = 16 } end,
    heads = { base = function(_, x) return { last_hidden_state = x } end } }
  for key, value in pairs(parts) do made[key] = value end
  pl.family(made)
  local folder = os.tmpname()
  os.remove(folder)
  assert(os.execute(("mkdir '%s'"):format(folder)) == 0)
  pl.save(folder .. "/model.safetensors", weights)
  local extra = ""
  for key, value in pairs(json or {}) do extra = extra .. (',"%s":%s'):format(key, value) end
  core.write_file(folder .. "/config.json", ('{"model_type":"%s","architectures":["Script%dModel"],"hidden_size":4,"vocab_size":6%s}')
    :format(name, serial, extra))
  local fine, m = pcall(pl.load, folder, { compute = "f32", mmap = false })
  if not keep then os.execute(("rm -r '%s'"):format(folder)) end
  if not fine then error(m, 0) end
  return m
end

local function table_of(rows, columns) return pl.random({ rows, columns }, { seed = rows * 31 + columns, low = -1, high = 1 }) end
local embedding = table_of(6, 4)
local rows = { { 1, 2, 3 }, { 5 } }
local function hidden(m) return m:forward(rows).last_hidden_state:tolist() end
local function expected(ids)
  local all, out = embedding:tolist(), {}
  for i, id in ipairs(ids) do out[i] = all[id + 1] end
  return out
end
local looked_up = expected { 1, 2, 3, 5 }

local function with_pass(pass, weights)
  local all = { ["embed.weight"] = embedding }
  for name, tensor in pairs(weights or {}) do all[name] = tensor end
  return load_family({ encode = function(net, batch) return pass(net, net:embedding(batch.ids, "embed"), batch) end }, all)
end

t.test("the smallest family: an embedding", function()
  local m = with_pass(function(net, x) return net:mark("embeddings", x) end)
  t.near(hidden(m), looked_up, 1e-6)
  t.equal({ m.head, m.max_tokens, m.vocab_size, #m.warnings }, { "base", 16, 6, 0 })
  t.equal(m:paths(), { "embeddings" })
  t.ok(m:eager():forward(rows).last_hidden_state:equal(m:forward(rows).last_hidden_state))
  t.equal(tostring(m:embed(rows).shape), "[batch=2, hidden=4]")
end)

t.test("what a pass can call by itself", function()
  local weights = { ["up.weight"] = table_of(8, 4), ["up.bias"] = table_of(1, 8):squeeze "axis1", ["down.weight"] = table_of(4, 8), ["norm.weight"] = pl.ones { 4 },
    ["norm.bias"] = pl.zeros { 4 }, ["scale"] = pl.tensor { 1, 2, 3, 4 }, ["places.weight"] = table_of(18, 4) }
  local seen = {}
  local m = with_pass(function(net, x, batch)
    seen.config, seen.has, seen.has_not = net.config.max_tokens, net:has "up.weight" or net:has "up", net:has "nothing"
    x = x + net:embedding(net:positions(x), "places", { offset = 2 })
    local inner = net:scope("", "layers.0")
    local y = net:linear(net:layer_norm(x, "norm", 1e-5), "up", "ffn", { bias = true })
    y = net:activation(y, "gelu_new")
    y = net:linear(y, "down", "hidden")
    inner:mark("mlp", y)
    x = x + y
    x = x * net:tensor("scale", { "hidden" })
    x = 2 * x - x / 2 + 1
    return inner:mark(x)
  end, weights)
  t.equal({ seen.config, seen.has, seen.has_not }, { 16, true, false })
  t.equal(m:paths(), { "layers.0.mlp", "layers.0" })
  t.ok(m:eager():forward(rows).last_hidden_state:equal(m:forward(rows).last_hidden_state))
  t.equal(m:forward({ rows[2] }).last_hidden_state:tolist()[1], hidden(m)[4])
end)

t.test("ops without weights", function()
  for name, check in pairs {
    relu = function(v) return math.max(v, 0) end, tanh = function(v) return (math.exp(2 * v) - 1) / (math.exp(2 * v) + 1) end,
    exp = math.exp, silu = function(v) return v / (1 + math.exp(-v)) end, sigmoid = function(v) return 1 / (1 + math.exp(-v)) end,
  } do
    local m = with_pass(function(net, x) return net[name](net, x) end)
    local all = hidden(m)
    for i, row in ipairs(looked_up) do for j, v in ipairs(row) do t.near(all[i][j], check(v), 1e-5, name) end end
  end
  local capped = with_pass(function(net, x) return net:softcap(x, 0.5) end)
  t.ok(capped:forward(rows).last_hidden_state:abs():max() <= 0.5)
  local unit = with_pass(function(net, x) return net:normalize(x) end)
  t.near(unit:forward(rows).last_hidden_state:norm("hidden"):tolist(), { 1, 1, 1, 1 }, 1e-4)
  for _, act in ipairs { "gelu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu", "silu", "swish", "tanh" } do
    t.ok(with_pass(function(net, x) return net:activation(x, act) end))
  end
  t.raises_text(function() with_pass(function(net, x) local y = net:activation(x, "gelo") return y end) end, "gelo")
end)

t.test("attention of an encoder: uncached, no mask", function()
  local weights = {}
  for _, name in ipairs { "q", "k", "v" } do weights[name .. ".weight"] = table_of(4, 4) end
  local m = with_pass(function(net, x)
    local function part(name) return net:linear(x, name, { "head", "head_dim" }) end
    local kv = net:uncached(part "k", part "v")
    return net:attention(part "q", kv, { mask = "none" }):merge({ "head", "head_dim" }, "hidden")
  end, weights)
  t.near(hidden(m)[4], m:forward({ rows[2] }).last_hidden_state:tolist()[1], 0)
  t.ok(m:eager():forward(rows).last_hidden_state:equal(m:forward(rows).last_hidden_state))
end)

t.test("heads: a tensor or forward's keys; select and mean", function()
  local m = load_family({ encode = function(net, batch) return net:embedding(batch.ids, "embed") end,
    config = function() return { layers = 1, axes = { hidden = 4, vocab = 6, class = 2 }, eos = { 3 }, labels = { [0] = "NO", "YES" } } end,
    architectures = { ["Script" .. serial + 1 .. "Model"] = "sequence" },
    heads = { base = function(net, x) return { last_hidden_state = x, pooled = net:mean(x) } end,
      sequence = function(net, x) return net:linear(net:select(x, "first"), "classify", "class") end,
      question = function(net, x)
        local y = net:linear(x, "classify", "class")
        return { start_logits = y:at { class = 0 }, end_logits = y:at { class = 1 } }
      end } }, { ["embed.weight"] = embedding, ["classify.weight"] = table_of(2, 4) }, nil, true)
  t.equal({ m.head, m:label(1), tostring(m:forward(rows).logits.shape) }, { "sequence", "YES", "[batch=2, class=2]" })
  local base = pl.load(m.path, { head = "base" })
  t.near(base:forward(rows).pooled:tolist()[2], looked_up[4], 1e-6)
  local out = pl.load(m.path, { head = "question" }):forward(rows)
  t.equal({ tostring(out.start_logits.shape), tostring(out.end_logits.shape), out.logits }, { "[token=4]", "[token=4]", nil })
  local padded = pl.load(m.path, { head = "question" }):forward(pl.batch(rows):padded { side = "right" })
  t.equal(tostring(padded.start_logits.shape), "[batch=2, seq=3]")
  t.raises_text(function() pl.load(m.path, { head = "causal" }) end, "causal", "question")
  os.execute(("rm -r '%s'"):format(m.path))
end)

t.test("names: prefixes, views, unused", function()
  local base = { encode = function(net, batch)
    local x = net:embedding(batch.ids, "embed")
    local scope = net:scope("layers.0", "layers.0")
    return net:linear(x, "mix", "hidden", { bias = false }) + scope:linear(x, "attn.k", "hidden") + scope:linear(x, "attn.q", "hidden")
  end }
  base.prefixes = { "wrap." }
  base.weights = function() return { ["old_mix"] = { rename = "mix" }, ["layers.*.attn"] = { transpose = true, split = { "q", "k" } } } end
  base.unused = { "*.leftover", "training.*" }
  local stored = { ["wrap.embed.weight"] = embedding, ["old_mix.weight"] = table_of(4, 4), ["wrap.layers.0.attn.weight"] = table_of(4, 8),
    ["wrap.layers.0.leftover"] = pl.ones { 3 }, ["training.step"] = pl.ones { 1 } }
  local m = load_family(base, stored)
  local x, fused = embedding:rename { axis1 = "token", axis2 = "in" }:gather("token", { 2, 3, 4, 6 }), table_of(4, 8):rename { axis1 = "in", axis2 = "out" }
  local want = x:matmul(table_of(4, 4):rename { axis1 = "out", axis2 = "in" }, { over = "in" })
    + x:matmul(fused:at { out = { 1, 4 } }, { over = "in" }) + x:matmul(fused:at { out = { 5, 8 } }, { over = "in" })
  t.near(hidden(m), want:tolist(), 1e-5)
  stored["stranger"] = pl.ones { 2 }
  t.raises_text(function() load_family(base, stored) end, "stranger")
  stored["stranger"], stored["old_mix.weight"] = nil, nil
  t.raises_text(function() load_family(base, stored) end, "mix")
end)

t.test("config: warnings, errors, sizes that do not fit", function()
  local m = load_family({ encode = function(net, batch) return net:embedding(batch.ids, "embed") end }, { ["embed.weight"] = embedding },
    { dropout = "0.1", flux = "3", torch_dtype = '"float32"', nothing = "null" })
  t.equal(#m.warnings, 1)
  t.ok(m.warnings[1]:find("flux", 1, true))
  t.equal(m.config.flux, 3)
  local function broken(config) return function()
    load_family({ config = config, encode = function(net, batch) return net:embedding(batch.ids, "embed") end }, { ["embed.weight"] = embedding })
  end end
  t.raises_text(broken(function() error "this mathematics is not supported" end), "this mathematics")
  t.raises_text(broken(function() return 7 end), "config")
  t.raises_text(broken(function() return {} end), "axes")
  t.raises_text(broken(function() return { axes = { hidden = 1.5 } } end), "hidden")
  t.raises_text(broken(function() return { axes = { hidden = 5, vocab = 6 } } end), "5", "4")
  t.raises_text(function() m:forward { 6 } end, "6")
end)

t.test("passes that are wrong: the family's line is named", function()
  for _, case in ipairs {
    { function(net, x) local y = net:linear(x, "embd", "hidden") return y end, "embd" },
    { function(net, x) local y = net:linear(x, "embed", "hidde") return y end, "hidde" },
    { function(_, x) local y = x + pl.ones { 3 } return y end, "" },
    { function(_, x) local y = x:at { token = -1 } return y end, "token" },
    { function(_, x) local y = x:tolist() return y end, "traced" },
    { function(_, x) local y = x:item() return y end, "traced" },
    { function(net) local y = net:nothing() return y end, "nothing" },
    { function(_, x) return x.nothing end, "nothing" },
    { function(_, _, batch) return batch.nothing end, "in api_families_spec.lua:" },
    { function() return 7 end, "tensor" },
    { function() end, "tensor" },
    { function() error "mine" end, "mine" },
    { function(net, x, batch) local y = batch.pixels + x return y end, "" },
    { function(net, x) local y = net:mark(7, x) return y end, "" },
    { function(net, x) local y = net.linear(x, "embed", "hidden") return y end, "" },
    { function(net, x) local y = net:linear(x, "embed", "hidden", { bais = true }) return y end, "bais" },
    { function(net, x) local y = net:attention(x, x, {}) return y end, "attention" },
  } do t.raises_text(function() with_pass(case[1]) end, case[2]) end
end)

t.test("passes that end in a tail call: the line of that is named", function()
  for i, pass in ipairs {
    function(net, batch) return net:linear(net:embedding(batch.ids, "embed"), "embd", "hidden") end,
    function(net, batch)
      local x = net:embedding(batch.ids, "embed")
      return net:linear(x, "embed", "hidde")
    end,
    function(net, batch)
      local x = net:embedding(batch.ids, "embed")
      if not batch then return x end
      return net:attention(x, x, {})
    end,
  } do
    local fine, err = pcall(load_family, { encode = pass }, { ["embed.weight"] = embedding })
    local line = debug.getinfo(pass, "S").lastlinedefined - (i == 1 and 0 or 1)
    t.ok(not fine and tostring(err):find("families_spec.lua:" .. line, 1, true), tostring(err))
  end
end)

t.test("pl.family: mistakes in the table", function()
  for _, bad in ipairs { {}, { name = 7 }, { name = "x", heads = {} }, { name = "x", architectures = { A = "causal" }, config = print, encode = print, heads = { base = print } },
    { name = "x", architectures = {}, config = print, encode = print, heads = { bse = print } },
    { name = "x", architectures = {}, config = print, encode = print, heads = { base = 7 } },
    { name = "x", architectures = {}, config = print, encode = print, heads = {}, padding = "middle" },
    { name = "x", architectures = {}, config = 7, encode = print, heads = {} } } do
    t.equal(type(t.raises(function() pl.family(bad) end)), "table")
  end
  for _, bad in ipairs { 7, "llama" } do t.raises_text(function() pl.family(bad) end, "family") end
  t.raises_text(function() pl.family() end, "family")
end)

t.test("rope_options: old and new spellings, unknown types", function()
  local plain = pl.rope_options({ rope_theta = 500000 }, 64)
  t.equal({ plain.theta, plain.dims or 64, plain.style }, { 500000, 64, "half" })
  t.equal(pl.rope_options({ rope_parameters = { rope_theta = 7, rope_type = "default" } }, 8).theta, 7)
  t.equal(pl.rope_options({}, 8).theta, 10000)
  t.equal(pl.rope_options({ rope_scaling = { type = "linear", factor = 2 } }, 8).scaling, { type = "linear", factor = 2 })
  t.raises_text(function() pl.rope_options({ rope_scaling = { rope_type = "spiral", factor = 2 } }, 8) end, "spiral")
  t.raises_text(function() pl.rope_options({ rope_scaling = { type = "linear" } }, 8) end, "factor")
  t.raises_text(function() pl.rope_options(7, 8) end, "rope")
  t.raises_text(function() pl.rope_options({}) end, "head_dim")
end)
