-- Weights quantized here: recipes, what they cost, folders and GGUF files that are the same to the bit.
local pl = require "perilune"
local core = require "perilune.core"
local folder_of = require "folder_of"
local t = require "spec"

local tales, reviews = "scripts/models/tales", "scripts/models/reviews"
local ids = { 1, 40, 41, 42, 43, 300, 301, 7, 8, 9 }
local cpu = { device = "cpu", compute = "f32" }

local function logits(m) return m:forward({ ids }, { rows = "all" }).logits:to "f32" end

local function difference(a, b) return a:max_difference(b) / (b:max() - b:min()) end

-- The largest difference of logits over their spread, by type: measured on tales, half added.
local bounds = { int8 = 0.02, ["int8-weight"] = 0.01, nf4 = 0.2, fp4 = 0.3, int4 = 0.2, q4_0 = 0.2, q4_1 = 0.2, q5_0 = 0.1,
  q5_1 = 0.1, q8_0 = 0.01, q2_k = 0.6, q3_k = 0.35, q4_k = 0.2, q5_k = 0.1, q6_k = 0.05, iq4_nl = 0.2, mxfp4 = 0.3, bf16 = 0.01, f16 = 0.002 }

-- Its search takes a minute under a sanitizer, which sees it in engine.block_writers.
if (os.getenv "PERILUNE_SANITIZE" or "") ~= "" then bounds.iq4_nl = nil end

t.test("every type quantizes, takes less memory, and loses what it may", function()
  local m = pl.load(tales, cpu)
  local before, exact = m:memory().weights, logits(m)
  for name, most in pairs(bounds) do
    local small = m:quantize(name)
    local lost = difference(logits(small), exact)
    t.ok(lost <= most, ("%s: %g of the spread, at most %g"):format(name, lost, most))
    if name ~= "bf16" and name ~= "f16" then
      t.ok(small:memory().weights < before * 0.7, ("%s: %d of %d bytes"):format(name, small:memory().weights, before))
    end
    t.equal(small.quantization, { type = name })
    small:close()
  end
  t.ok(logits(m):equal(exact), "the model stays as it was")
end)

t.test("quantize= of pl.load and m:quantize are the same bits", function()
  local m = pl.load(tales, cpu)
  local recipe = { ["layers.*.mlp.*"] = "nf4", ["layers.0-2.self_attn"] = { type = "int4", group = 32, symmetric = false }, lm_head = "int8" }
  local a, b = m:quantize(recipe), pl.load(tales, t.with(cpu, { quantize = recipe }))
  t.ok(logits(a):equal(logits(b)))
  t.ok(not a:weight "embed_tokens":equal(m:weight "embed_tokens"), "a tied head is one weight with the embedding")
  t.ok(a:weight "layers.3.self_attn.q_proj":equal(m:weight "layers.3.self_attn.q_proj"), "what no pattern names stays")
  t.ok(a:weight "norm":equal(m:weight "norm"), "norms stay")
  t.ok(not a:weight "layers.1.self_attn.q_proj":equal(m:weight "layers.1.self_attn.q_proj"))
end)

t.test("the longest pattern wins; embeddings and heads keep their type unless named", function()
  local m = pl.load(tales, cpu)
  local function types(recipe)
    local s = rawget(m:quantize(recipe), "state_")
    return function(path) return (s.checkpoint:storage(path)) end
  end
  local of = types "int8"
  t.equal({ of "layers.0.mlp.up_proj", of "embed_tokens" }, { "INT8_ROW", "bf16" })
  of = types { ["*"] = "q8_0", ["layers.0"] = "nf4", ["layers.0.mlp"] = "int4", group = 64 }
  t.equal({ of "layers.0.mlp.up_proj", of "layers.0.self_attn.q_proj", of "layers.1.mlp.up_proj", of "embed_tokens" },
    { "INT4_64", "NF4", "Q8_0", "Q8_0" })
  of = types { type = "fp4", double_quantization = true, ["*.down_proj"] = "f16" }
  t.equal({ of "layers.5.mlp.up_proj", of "layers.5.mlp.down_proj" }, { "FP4_DOUBLE", "f16" })
end)

t.test("weights that a type has lose nothing", function()
  local m = pl.load(tales, cpu)
  for _, name in ipairs { "int8", "int8-weight", "nf4", "fp4", "int4", "q4_0", "q8_0" } do
    local small = m:quantize(name)
    local path = "layers.2.mlp.gate_proj"
    local values = small:weight(path)
    local exact = pl.load(tales, t.with(cpu, { quantize = "f32" })):set_weight(path, values):quantize { [path] = name }
    t.ok(exact:weight(path):equal(values) or exact:weight(path):close(values, 1e-6), name)
  end
end)

t.test("a saved model is the same to the bit, with its recipe", function()
  local m = pl.load(tales, cpu)
  local recipe = { type = "int4", ["layers.1"] = "q4_k", ["layers.2.mlp"] = { type = "nf4", double_quantization = true }, lm_head = "int8" }
  local small = m:quantize(recipe)
  local folder = folder_of.files {}
  local calls = 0
  small:save(folder, { on_progress = function(done, total) calls = done == total and calls + 1 or calls end })
  t.equal(calls, 1)
  local again = pl.load(folder, cpu)
  t.ok(logits(again):equal(logits(small)))
  t.equal(again.quantization, recipe)
  t.equal(again:memory().weights, small:memory().weights)
  for _, path in ipairs { "layers.0.mlp.up_proj", "layers.1.mlp.up_proj", "layers.2.mlp.up_proj", "embed_tokens", "norm" } do
    t.ok(again:weight(path):equal(small:weight(path)), path)
  end
  local size = #core.read_file(folder .. "/model.safetensors")
  t.ok(size < 0.4 * #core.read_file(tales .. "/model.safetensors"), "blocks are stored, not numbers: " .. size)
  local text = small:generate("Once upon a time", { max_new_tokens = 8, do_sample = false }).text
  t.equal(again:generate("Once upon a time", { max_new_tokens = 8, do_sample = false }).text, text)
  local twice = folder_of.files {}
  again:save(twice)
  t.ok(logits(pl.load(twice, cpu)):equal(logits(small)), "a folder that was read is written as it is")
end)

t.test("a quarter of a model in blocks is enough for auto to multiply them as they are", function()
  local recipe = { ["*.0.*"] = "int8" }   -- the rest stays numbers, here a large table of embeddings
  t.equal(pl.load("scripts/models/reviews", { quantize = recipe, device = "cpu" }).compute, "int8")
  t.equal(pl.load("scripts/models/tales", { quantize = recipe, device = "cpu" }).compute, "f32")   -- one layer of six
end)

t.test("encoders quantize too", function()
  local m = pl.load(reviews, cpu)
  local small = m:quantize { type = "int8-weight", classifier = "q8_0" }
  t.ok(small:memory().weights < m:memory().weights)
  local folder = folder_of.files {}
  small:save(folder)
  local again = pl.load(folder, cpu)
  local input = { "A great place.", "An awful place." }
  t.ok(again:forward(input).logits:equal(small:forward(input).logits))
  t.equal(again:label(again:forward(input).logits:argmax "class"), { "POSITIVE", "NEGATIVE" })
end)

t.test("every family quantizes, whatever its weights are called and how they lie", function()
  for _, name in ipairs { "gpt2-plain", "phi3-fused-qkv", "gpt_neox-parallel", "gemma2-softcap", "qwen3-qknorm", "bert-base", "t5-gated-untied",
    "bart-plain", "distilbert-base", "phi-partial-rotary" } do
    local m = pl.load(t.golden(name), t.with(cpu, { tokenizer = false }))
    local small = m:quantize "int8-weight"
    local folder = folder_of.files {}
    small:save(folder)
    local again = pl.load(folder, t.with(cpu, { tokenizer = false }))
    local input = { { 3, 4, 5, 6 } }
    local a, b, exact = small:forward(input), again:forward(input), m:forward(input)
    for key, value in pairs(a) do
      if key == "logits" or key == "last_hidden_state" then
        t.ok(value:equal(b[key]), name)
        t.ok(value:max_difference(exact[key]) > 0, name .. " is quantized")
      end
    end
  end
end)

t.test("a batch never changes an answer of weights that were quantized here", function()
  local m = pl.load(tales, { device = "cpu" })
  for _, name in ipairs { "int8", "nf4", "int4", "q4_k" } do
    local small = m:quantize(name)
    local rows = { ids, { 5 }, { 7, 8, 9 }, { 40, 39, 38, 37, 36, 35, 34 } }
    local all = small:forward(rows, { rows = "last" }).logits
    for i, row in ipairs(rows) do
      t.equal(small:forward({ row }, { rows = "last" }).logits:tolist()[1], all:tolist()[i], name)
    end
  end
end)

t.test("recipes that do not fit say what is wrong", function()
  local m = pl.load(tales, cpu)
  local cases = {
    { "int5", "no weight type", "int4" }, { { ["layers.*.mpl.*"] = "nf4" }, "layers.*.mpl.*" },
    { { lm_heed = "int8" }, "did you mean", "lm_head" }, { "mixed", "mixed" }, { {}, "names no type" }, { { 3 }, "patterns" },
    { { type = "int4", group = 48 }, "48", "32, 64, 128" }, { { type = "nf4", group = 32 }, "group", "int4" },
    { { ["layers.0"] = { type = "nf4", grup = 3 } }, "grup", "group" }, { { ["layers.0"] = 4 }, "weight type" },
    { { type = "int8", symmetric = "yes" }, "symmetric", "true or false" }, { { norm = "int8" }, "norm" }, { 7, "no weight type" },
    { { ["layers.0.mlp"] = "int8", ["layers.0.mlp.up_proj"] = "int4", ["layers.0.mlp.gate_proj"] = "int4", ["layers.0.mlp.down_proj"] = "nf4",
      ["layers.0.*"] = { type = "q4_0", group = 32 } }, "group" },
  }
  for _, case in ipairs(cases) do
    t.raises_table(function() m:quantize(case[1]) end, "quantize", unpack(case, 2))
  end
  t.raises_table(function() m:quantize("int8", { computes = "f32" }) end, "computes")
  m:set_weight("layers.0.mlp.up_proj", m:weight "layers.0.mlp.up_proj" * (0 / 0))
  t.raises_table(function() m:quantize "int8" end, "up_proj", "nan")
end)

t.test("rows that blocks do not divide", function()
  local m = pl.load(t.golden "llama-gqa", t.with(cpu, { tokenizer = false }))
  local width = m:weight("layers.0.mlp.gate_proj").shape.input
  local small = m:quantize { ["layers.*.mlp.gate_proj"] = { type = "int4", group = 128 } }
  t.equal(small:weight("layers.0.mlp.gate_proj").shape.input, width)
  local folded = m:quantize "q4_k"
  t.ok(#folded.warnings > #m.warnings or width % 256 == 0, "what becomes of rows that 256 does not divide is told")
end)

t.test("damaged folders of blocks are refused by name", function()
  local folder = folder_of.files {}
  pl.load(tales, cpu):quantize("q8_0"):save(folder)
  local path = folder .. "/model.safetensors"
  local whole = core.read_file(path)
  for _, case in ipairs { { '%["Q8_0", ?256%]', '["Q9_0", 256]', "Q9_0" }, { '%["Q8_0", ?256%]', '["Q8_0", 512]', "512" },
    { '%["Q8_0", ?256%]', '["NF4" , 256]', "NF4" }, { '"layers.0.mlp', '"layers.9.mlp', "not there" } } do
    local text = whole:gsub('(perilune.blocks.*)', function(rest)
      local plain = case[1]:gsub('"', '\\"')
      local new = case[2]:gsub('"', '\\"')
      return (rest:gsub(plain, (new:gsub("%%", "%%%%")), 1))
    end)
    t.ok(text ~= whole, "the metadata holds " .. case[1])
    core.write_file(path, text)
    t.raises_table(function() pl.load(folder, cpu) end, case[3])
  end
end)
