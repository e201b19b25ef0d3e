-- Hooks tell the truth: patterns, what they are called with, what may come back, what can only be seen.
local pl = require "perilune"
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

t.test("attention weights are seen by hooks; what comes back for them is refused, and the model goes on", function()
  local path = "layers.1.attention.weights"
  local wanted = m:trace("Once upon", path)[path]
  local seen
  local hook = m:hook(path, function(w) seen = w:copy() end)
  t.ok(m:forward("Once upon", { rows = "all" }).logits:equal(plain))
  hook:remove()
  t.ok(seen:close(wanted:detach(), 0))
  hook = m:hook("layers.*.attention.weights", function(w) return w * 0 end)
  t.raises_table(function() m:forward "Once upon" end, "layers.0.attention.weights", "layers.0.attention.heads", "llama.lua")
  hook:remove()
  t.ok(m:forward("Once upon", { rows = "all" }).logits:equal(plain))
end)
