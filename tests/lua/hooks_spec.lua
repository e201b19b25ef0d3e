-- Hooks tell the truth: patterns, what they are called with, what may come back, what can only be seen.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"

local m = pl.load("scripts/models/tales", { compute = "f32" })
local plain = m:forward("Once upon", { rows = "all" }).logits

t.test("a star is one component, and the hook is told which path it is at", function()
  local seen = {}
  local hook = m:hook("layers.*.mlp", function(x, path) seen[#seen + 1] = path .. " " .. x.rank end)
  t.equal(hook.path, "layers.*.mlp")
  t.equal(tostring(hook), "Hook layers.*.mlp")
  t.ok(m:forward("Once upon", { rows = "all" }).logits:equal(plain))
  t.equal(#seen, 6)
  t.equal(seen[3], "layers.2.mlp 2")
  hook:remove()
  hook.remove()
  t.equal(tostring(hook), "Hook layers.*.mlp (removed)")
  m:forward "Once"
  t.equal(#seen, 6)
  t.raises_text(function() m:hook("layers.*.mpl", print) end, "layers.*.mpl", "one component")
end)

t.test("m:hooks lists them in their order, and takes all away", function()
  m:hook("layers.1", function(x) return x * 2 end)
  m:hook("norm", function() end)
  t.equal(#m:hooks(), 2)
  t.equal(tostring(m:hooks()), "1  layers.1\n2  norm")
  t.ok(not m:forward("Once upon", { rows = "all" }).logits:equal(plain))
  m:hooks():remove()
  t.equal(tostring(m:hooks()), "no hooks")
  t.ok(m:forward("Once upon", { rows = "all" }).logits:equal(plain))
end)

t.test("what comes back may be of any batch, or of none; only its form counts", function()
  local other = m:trace("The fox", "layers.1.mlp")["layers.1.mlp"]
  for name, one in pairs { ["another batch"] = other, detached = other:detach(), made = pl.zeros({ 3, 256 }, { axes = { "token", "hidden" } }) } do
    local hook = m:hook("layers.1.mlp", function() return one end)
    local after = m:forward("Once upon", { rows = "all" }).logits
    hook:remove()
    t.ok(not after:equal(plain), name)
    t.equal(tostring(after.shape), tostring(plain.shape))
  end
  local longer = m:trace("The brave fox ran", "layers.1.mlp")["layers.1.mlp"]
  for _, bad in ipairs { longer, other:to "f16", other:order("hidden", "token"), other:rename { hidden = "other" } } do
    local hook = m:hook("layers.1.mlp", function() return bad end)
    t.raises_table(function() m:forward "Once upon" end, "layers.1.mlp", "another form")
    hook:remove()
  end
end)

t.test("the outputs of each head have a path, and act", function()
  local path = "layers.2.attention.heads"
  local tr = m:trace("Once upon", { path, "layers.2.attention.query" })
  t.equal(tostring(tr[path].shape), tostring(tr["layers.2.attention.query"].shape))
  local hook = m:hook(path, function(x) return x:copy():set(0, { head = 3 }) end)
  local without = m:forward("Once upon", { rows = "all" }).logits
  hook:remove()
  t.ok(not without:equal(plain))
  hook = m:hook(path, function(x) return x * 0 end)
  local none = m:trace("Once upon", "layers.2.attention")["layers.2.attention"]
  hook:remove()
  t.equal(none:max(), 0)
end)

local function one_hot(w, key) return (w * 0):set(1, { key = key }) end

t.test("attention weights are seen by hooks, and what comes back for them acts", function()
  local path = "layers.1.attention.weights"
  local wanted = m:trace("Once upon", path)[path]
  local seen
  local hook = m:hook(path, function(w) seen = w:copy() return w * 1 end)
  t.ok(m:forward("Once upon", { rows = "all" }).logits:equal(plain), "what comes back as it was changes no bit")
  hook:remove()
  t.ok(seen:close(wanted, 0))
  hook = m:hook(path, function(w) return w * 0 end)
  local none = m:trace("Once upon", { "layers.1.attention", path })
  hook:remove()
  t.equal(none["layers.1.attention"]:max(), 0)
  t.equal(none[path]:max(), 0, "the trace has what acted")
  hook = m:hook("layers.*.attention.weights", function(w) return (w * 2):at { head = { 1, 2 } } end)
  t.raises_table(function() m:forward "Once upon" end, "layers.0.attention.weights", "another form")
  hook:remove()
end)

t.test("each head gives the values that changed weights point at", function()
  local hook = m:hook("layers.1.attention.weights", function(w) return one_hot(w, 2) end)
  local tr = m:trace("Once upon a", { "layers.1.attention.heads", "layers.1.attention.value" })
  hook:remove()
  local heads, value = tr["layers.1.attention.heads"]:detach(), tr["layers.1.attention.value"]:detach()
  for head = 1, 8 do
    local of = value:at { token = 2, kv_head = math.floor((head - 1) / 4) + 1 }
    t.equal(heads:at { token = 1, head = head }:max(), 0, "the first token does not see the second")
    for token = 2, 4 do t.ok(heads:at { token = token, head = head }:equal(of)) end
  end
end)

t.test("changed weights act alike in a batch, with a cache, and in generation", function()
  local function sharper(w) return (w * w) / (w * w):sum("key") end
  local hook = m:hook("layers.*.attention.weights", sharper)
  local texts = { "Once upon a time", "The fox" }
  local together = m:forward(texts).logits
  for i, text in ipairs(texts) do
    t.ok(together:at { batch = i }:equal(m:forward(text).logits:at { batch = 1 }), "row " .. i)
  end
  local ids, cache = m.tokenizer:ids "Once upon a time", m:cache()
  m:forward({ ids[1], ids[2] }, { cache = cache })
  t.ok(m:forward({ unpack(ids, 3) }, { cache = cache }).logits:at { batch = 1 }:equal(together:at { batch = 1 }), "in two parts")
  local made = m:generate(ids, { max_new_tokens = 3, do_sample = false }).ids
  for i = 1, 3 do
    t.equal(made[i], m:forward(ids).logits:at { batch = 1 }:argmax(), "token " .. i)
    ids[#ids + 1] = made[i]
  end
  hook:remove()
end)

t.test("changed weights act in every kind of attention, whatever the cache holds", function()
  for name, scope in pairs { ["bert-base"] = "layers.1.attention", ["bart-plain"] = "decoder.layers.1.cross_attention",
    ["t5-relu-tied"] = "encoder.layers.1.attention", ["mistral-window"] = "layers.1.attention", ["gemma2-softcap"] = "layers.1.attention",
    ["clip-plain"] = "text.layers.1.attention" } do
    for _, cache in ipairs { "f32", "f16", "int8" } do
      local one = pl.load(t.golden(name), { compute = "f32", cache = cache })
      local function heads()
        local input = { 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 }
        return one:trace({ input, { 9, 8, 7 } }, scope .. ".heads")[scope .. ".heads"]:detach()
      end
      local before = heads()
      local hook = one:hook(scope .. ".weights", function(w) return w * 0.5 end)
      local half = heads()
      hook:remove()
      t.ok(half:close(before * 0.5, 1e-5 * (1 + before:abs():max())), name .. " " .. cache)
    end
  end
end)

t.test("changed weights act on another device", function()
  local there, reason = pl.try(core.device, os.getenv "PERILUNE_TEST_DEVICE" or "emulator")
  if not there then t.skip("device: " .. tostring(reason)) end
  for name, scope in pairs { ["llama-gqa"] = "layers.1.attention", ["bart-plain"] = "decoder.layers.1.cross_attention" } do
    local function heads(device)
      local one = pl.load(t.golden(name), { compute = "f32", device = device })
      one:hook(scope .. ".weights", function(w) return w * w end)
      return one:trace({ { 5, 6, 7, 8 }, { 3, 4 } }, scope .. ".heads")[scope .. ".heads"]:to "cpu"
    end
    t.ok(heads(os.getenv "PERILUNE_TEST_DEVICE" or "emulator"):close(heads "cpu", 1e-4), name)
  end
end)
