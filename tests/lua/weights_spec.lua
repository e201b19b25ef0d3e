-- m:weight and m:set_weight: a loaded weight by any of its names, held against the file; and what a change does
-- to calls that come after, and to none that came before.
local pl = require "perilune"
local t = require "spec"

local function stored(name, tensor) return pl.open("tests/golden/" .. name .. "/model.safetensors").tensor(tensor):to "f32" end
local function load(name) return pl.load(t.golden(name), { compute = "f32", tokenizer = false }) end
local rows = { { 7, 9, 11, 300 }, { 5 } }
local function logits(m) return m:forward(rows, { rows = "all" }).logits end

-- model, what is asked for, the tensor in its file, and its axes.
local reads = {
  { "llama-gqa", "layers.0.self_attn.k_proj", "model.layers.0.self_attn.k_proj.weight", "output input" },
  { "llama-gqa", "layers.0.self_attn.k_proj.weight", "model.layers.0.self_attn.k_proj.weight", "output input" },
  { "llama-gqa", "model.layers.0.self_attn.k_proj.weight", "model.layers.0.self_attn.k_proj.weight", "output input" },
  { "llama-gqa", "embed_tokens", "model.embed_tokens.weight", "vocab hidden" },
  { "llama-gqa", "norm", "model.norm.weight", "hidden" },
  { "bert-sequence", "layers.1.attention.self.query", "bert.encoder.layer.1.attention.self.query.weight", "output input" },
  { "bert-sequence", "layers.1.intermediate.dense.bias", "bert.encoder.layer.1.intermediate.dense.bias", "ffn" },
  { "t5-gated-untied", "decoder.layers.0.layer.1.EncDecAttention.k", "decoder.block.0.layer.1.EncDecAttention.k.weight", "output input" },
  { "gpt2-plain", "layers.0.ln_1", "transformer.h.0.ln_1.weight", "hidden" },
  { "gpt2-plain", "transformer.h.0.attn.c_attn.weight", "transformer.h.0.attn.c_attn.weight", "axis1 axis2" },   -- read in parts: as stored
}

for _, case in ipairs(reads) do
  t.test(("%s: %s"):format(case[1], case[2]), function()
    local m = load(case[1])
    local w, axes = m:weight(case[2]), {}
    for i, axis in ipairs(w.shape) do axes[i] = axis.name end
    t.equal(table.concat(axes, " "), case[4])
    t.equal({ w.dtype, w:tolist() }, { "f32", stored(case[1], case[3]):tolist() })
    w:set(0)   -- a copy
    t.ok(m:weight(case[2]):abs():sum() > 0)
    m:close()
  end)
end

t.test("a transposed weight and the part of one come as the layer multiplies", function()
  local m = load "gpt2-plain"
  local whole = stored("gpt2-plain", "transformer.h.0.attn.c_attn.weight")
  local k = m:weight "h.0.attn.c_attn.k"
  t.equal(k:tolist(), whole:at { axis2 = { 61, 120 } }:order("axis2", "axis1"):tolist())
  t.equal(m:weight "layers.0.attn.c_attn.k":tolist(), k:tolist())
end)

t.test("names that are none, or several", function()
  local m = load "llama-gqa"
  t.raises_table(function() m:weight "layers.0.self_attn.k_pro" end, "k_proj")
  t.raises_table(function() m:weight(7) end, "name")
  t.raises_table(function() m:set_weight("layers.9.mlp.up_proj", pl.ones { 2 }) end, "layers.9")
  t.raises_table(function() load "gpt2-plain":set_weight("transformer.h.0.attn.c_attn.weight", pl.ones { 60, 180 }) end, "parts", "h.0.attn.c_attn.q.weight")
  m:close()
  t.raises_table(function() m:weight "norm" end, "closed")
end)

t.test("what is set is what passes use from then on", function()
  for _, case in ipairs { { "llama-gqa", "layers.1.mlp.down_proj" }, { "llama-gqa", "layers.0.input_layernorm" }, { "llama-gqa", "embed_tokens" },
    { "gpt2-plain", "h.0.attn.c_attn.v" }, { "gpt2-plain", "h.1.mlp.c_fc.bias" } } do
    local m, other = load(case[1]), load(case[1])
    local before, w = logits(m), m:weight(case[2])
    local print_before = m:fingerprint()
    t.equal(m:set_weight(case[2], w * 2), m)
    t.equal(m:weight(case[2]):tolist(), (w * 2):tolist())
    local changed = logits(m)
    t.differ(changed:tolist(), before:tolist())
    t.equal(m:eager():forward(rows, { rows = "all" }).logits:tolist(), changed:tolist())
    t.equal(logits(other):tolist(), before:tolist())   -- a model of its own
    t.differ(m:fingerprint(), print_before)
    m:set_weight(case[2], w)
    t.equal(logits(m):tolist(), before:tolist())
  end
end)

t.test("a request that runs keeps the weights it began with; the next has the new ones", function()
  local m, options = load "llama-gqa", { max_new_tokens = 6, do_sample = false, eos_token_id = {} }
  local old = m:generate({ 7, 9 }, options).ids
  local e = pl.engine(m)
  local line = e:submit({ 7, 9 }, options)
  e:step()
  local w = m:weight "lm_head"
  m:set_weight("lm_head", w * -1)
  local after = e:submit({ 7, 9 }, options)
  e:drain()
  t.equal(line:result().ids, old)
  local new = m:generate({ 7, 9 }, options).ids
  t.differ(new, old)
  t.equal(after:result().ids, new)
end)

t.test("sizes, axes, dtypes", function()
  local m = load "llama-gqa"
  local w = m:weight "layers.0.mlp.up_proj"
  local err = t.raises_table(function() m:set_weight("layers.0.mlp.up_proj", pl.ones { 2, 3 }) end, "set_weight", "[112, 48]")
  t.equal(err.code, "shape")
  t.raises_table(function() m:set_weight("layers.0.mlp.up_proj", { 1 }) end, "Tensor")
  m:set_weight("layers.0.mlp.up_proj", (w + 1):order("input", "output"))   -- axes go by name
  t.equal(m:weight "layers.0.mlp.up_proj":tolist(), (w + 1):tolist())
  local half = load "llama-rope3-bf16"
  local fine = half:weight "norm"
  half:set_weight("norm", fine + 1e-6)
  t.equal(half:weight "norm":tolist(), (fine + 1e-6):to "bf16":to "f32":tolist())   -- in the dtype that is stored
end)

t.test("a changed model is not written as if it were the stored one", function()
  local m = load "llama-gqa"
  m:set_weight("norm", m:weight "norm")
  t.raises_table(function() m:save(os.tmpname()) end, "save", "set_weight", "pl.save")
end)
