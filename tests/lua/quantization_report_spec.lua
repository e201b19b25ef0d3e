-- m:quantization_report: what a model lost against its reference.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"

local tales, reviews = "scripts/models/tales", "scripts/models/reviews"
local tale = "Once upon a time, a brave fox named Mira lived in a small house by the river. She was never afraid for long."

local function scaled(path, module, by)
  local m = pl.load(path, { compute = "f32" })
  m:set_weight(module, m:weight(module) * by)
  return m
end

t.test("nothing is lost where the weights are representable", function()
  for _, path in ipairs { tales, reviews } do
    local r = pl.load(path, { compute = "f32" }):quantization_report(tale)
    t.equal({ r.verdict, r.bytes, #r.advice }, { "nothing is lost", r.bytes_before, 0 })
    t.ok(#r.layers > 10)
    for _, layer in ipairs(r.layers) do t.equal({ layer.weight_error, layer.output_error }, { 0, 0 }, layer.name) end
    if r.kl_mean then
      t.equal({ r.kl_mean, r.kl_p99, r.same_top, r.logit_change, r.perplexity_change }, { 0, 0, 1, 0, 0 })
    else
      t.equal({ r.cosine_mean, r.cosine_min, r.output_change }, { 1, 1, 0 })
    end
  end
end)

t.test("a layer that is broken on purpose is named first, with what to do", function()
  for path, module in pairs { [tales] = "layers.3.mlp.down_proj", [reviews] = "encoder.layer.1.intermediate.dense" } do
    local r = scaled(path, module, -1):quantization_report(tale)
    t.equal(r.layers[1].name, module)
    t.near(r.layers[1].weight_error, 2, 1e-5)
    t.ok(r.advice[1]:find(module .. " answers nothing like", 1, true), r.advice[1])
    t.equal(r.layers[2].output_error, 0)
    t.ok(tostring(r):find(module, 1, true))
  end
end)

t.test("errors are relative, and a layer out of line is told to take more bits", function()
  local r = scaled(tales, "layers.1.self_attn.o_proj", 1.25):quantization_report(tale)
  t.near(r.layers[1].weight_error, 0.25, 2e-3)   -- the file's weights are bf16
  t.near(r.layers[1].output_error, 0.25, 2e-3)
  t.equal(r.layers[1].name, "layers.1.self_attn.o_proj")
  t.ok(r.advice[1]:find('["layers.1.self_attn.o_proj"] = "int8"', 1, true), r.advice[1])
  t.ok(r.kl_mean > 0 and r.kl_p99 >= r.kl_mean and r.logit_change > 0)
  t.near(r.perplexity_change, r.perplexity - r.perplexity_before, 1e-9)
end)

-- A natural logarithm of the softmax, in doubles.
local function log_softmax(list)
  local most, sum = -math.huge, 0
  for _, v in ipairs(list) do most = math.max(most, v) end
  for _, v in ipairs(list) do sum = sum + math.exp(v - most) end
  local out = {}
  for i, v in ipairs(list) do out[i] = v - most - math.log(sum) end
  return out
end

t.test("the divergence is the formula's", function()
  local before = pl.load(tales, { compute = "f32" })
  local after = scaled(tales, "layers.5.mlp.up_proj", 0.7)
  local ids = before.tokenizer:ids(tale)
  local a, b = before:forward(ids, { rows = "all" }).logits:tolist(), after:forward(ids, { rows = "all" }).logits:tolist()
  local kl, same, surprise, largest = 0, 0, 0, 0
  for i = 1, #ids do
    local p, q = log_softmax(a[i]), log_softmax(b[i])
    local top_p, top_q = 1, 1
    for v = 1, #p do
      kl = kl + math.exp(p[v]) * (p[v] - q[v])
      largest = math.max(largest, math.abs(a[i][v] - b[i][v]))
      if p[v] > p[top_p] then top_p = v end
      if q[v] > q[top_q] then top_q = v end
    end
    same = same + (top_p == top_q and 1 or 0)
    if i < #ids then surprise = surprise - q[ids[i + 1] + 1] end
  end
  local r = after:quantization_report(ids)
  t.near(r.kl_mean, kl / #ids, 1e-6)
  t.near(r.perplexity, math.exp(surprise / (#ids - 1)), 1e-4)
  t.near(r.logit_change, largest, 1e-6)
  t.equal(r.same_top, same / #ids)
end)

t.test("core.divergence: what is left out counts for nothing, and sizes must agree", function()
  local never = -math.huge
  local a = pl.tensor({ { 0, 0, never } }, { axes = { "row", "vocab" } })
  local one = core.divergence(a, pl.tensor({ { 0, 0, 5 } }, { axes = { "row", "vocab" } }), { 0 })[1]
  t.near(one.kl, math.log((2 + math.exp(5)) / 2), 1e-6)
  t.near(one.reference_logprob, math.log(0.5), 1e-9)
  t.equal({ one.same_top, one.largest }, { false, math.huge })
  t.raises_text(function() core.divergence(a, pl.zeros({ 1, 2 }, { axes = { "row", "vocab" } }), { -1 }) end, "sizes differ")
  t.raises_text(function() core.divergence(a, a, { 3 }) end, "target 3")
  t.raises_text(function() core.divergence(a, a, {}) end, "0 targets for 1 rows")
end)

t.test("rounded arithmetic counts as a loss, the reference may be named, and long rows are cut", function()
  local m = pl.load(reviews, { compute = "bf16" })
  local r = m:quantization_report({ tale, "Not a bad book." }, { reference = reviews })
  t.ok(r.layers[1].weight_error > 0 and r.layers[1].weight_error < 0.01 and r.bytes < r.bytes_before)
  t.ok(r.cosine_mean > 0.99 and r.cosine_mean < 1)
  local most = pl.load(tales, { compute = "bf16" }):quantization_report(nil, { tokens = 300, layers = false })
  t.ok(most.text:match "^(%d+)" + 0 >= 300 and #most.layers == 0)
  t.ok(most.advice[1]:find("foreign", 1, true))
end)

t.test("it is written as JSON and drawn with axes and labels", function()
  local path, told = os.tmpname(), 0
  local m = scaled(tales, "layers.0.mlp.gate_proj", 1.5)
  local r = m:quantization_report(tale, { plot = path, on_progress = function(done) told = done end })
  local back = core.json(core.write_json(r), "report")
  t.equal({ back.layers[1].name, #back.layers, back.kl_mean }, { "layers.0.mlp.gate_proj", #r.layers, r.kl_mean })
  local svg = core.read_file(path)
  for _, part in ipairs { "<svg", "layers.0.mlp.gate_proj", "relative error", "mean KL divergence, nats", "weights, MiB", "before", "</svg>" } do
    t.ok(svg:find(part, 1, true), part)
  end
  t.ok(told > 0)
  os.remove(path)
end)

t.test("an encoder-decoder's report has both sides", function()
  local path = t.golden "t5-gated-untied"
  local m = pl.load(path, { compute = "bf16" })
  local r = m:quantization_report { 5, 9, 17, 3 }
  local sides = {}
  for _, layer in ipairs(r.layers) do sides[layer.name:match "^%a+"] = true end
  t.ok(sides.encoder and sides.decoder and r.kl_mean > 0)
end)

t.test("mistakes are named", function()
  local m = pl.load(tales, { compute = "f32", tokenizer = false })
  for _, case in ipairs {
    { tale, nil, "no tokenizer" }, { {}, nil, "expected a text" }, { { 1, 2 }, { reference = reviews }, "is no reference" },
    { { 1, 2 }, { plott = "x" }, "did you mean" }, { { 1, 2 }, { plot = "" }, "file name" }, { { 1, 9999 }, nil, "9999" },
  } do
    t.raises_text(function() m:quantization_report(case[1], case[2]) end, case[3])
  end
  m:close()
  t.raises_text(function() m:quantization_report { 1, 2 } end, "closed")
end)
