-- Promise 1: shapes cannot lie. Each mistake below is one that people make; each message names the
-- operation, the axes, both sizes, the place and what to do.
local pl = require "perilune"
local core = require "perilune.core"
local folder_of = require "folder_of"
local t = require "spec"

local tales = "scripts/models/tales"
local m = pl.load(tales, { compute = "f32" })

local function rows_of(...)
  local rows = {}
  for i, length in ipairs { ... } do
    rows[i] = {}
    for j = 1, length do rows[i][j] = j + 2 end
  end
  return rows
end

local function zeros(sizes, axes) return pl.zeros(sizes, { axes = axes }) end

-- A family that runs `body(net, batch)` as its pass, on the llama-gqa weights.
local function family_with(body)
  local name = "mistake" .. tostring(body):match "0x(%x+)"
  local golden = t.golden "llama-gqa"
  pl.family(t.with(require "perilune.models.llama",
    { name = name, model_types = { name }, architectures = { ["Mistake" .. name] = "causal" }, decode = body }))
  local json = core.read_file(golden .. "/config.json")
    :gsub('"model_type": "llama"', '"model_type": "' .. name .. '"'):gsub("LlamaForCausalLM", "Mistake" .. name)
  local fine, err = pcall(pl.load, folder_of.copy(golden, { ["config.json"] = json }))
  folder_of.remove_all()
  if fine then error("the pass was accepted", 0) end
  error(err, 0)
end

-- The same for a pass that applies `step(net, x)` to the embeddings.
local function family_that(step)
  return family_with(function(net, batch)
    local y = step(net, net:embedding(batch.ids, "embed_tokens"))   -- no tail call: Lua forgets the lines of those
    return y
  end)
end

local function linear(path)
  return family_that(function(net, x)
    local y = net:linear(x, path, "hidden")
    return y
  end)
end

local cases = {
  { "rows of 12 and 15 in one tensor", function() return pl.tensor(rows_of(12, 15), { dtype = "i32", axes = { "batch", "seq" } }) end,
    "tensor:", "12", "15", "row 2", "pad", "trunc", "ragged" },
  { "stack of unequal rows", function() return pl.stack({ zeros({ 7 }, { "token" }), zeros({ 7 }, { "token" }), zeros({ 5 }, { "token" }) }, "batch") end,
    "stack:", "row 3 has", "5", "7", "pl.batch" },
  { "257 split into 8 heads", function() return zeros({ 3, 257 }, { "token", "hidden" }):split_axis("hidden", { "head", "head_dim" }, { head = 8 }) end,
    "split_axis:", "257", "8", "hidden", "head" },
  { "batches of 10 and 12 added", function()
    local a, b = pl.batch(rows_of(4, 6)), pl.batch(rows_of(5, 7))
    return m:forward(a, { rows = "all" }).logits + m:forward(b, { rows = "all" }).logits
  end, "add:", "token", "10", "12" },
  { "batches of the same count added", function()
    local a, b = pl.batch(rows_of(4, 6)), pl.batch(rows_of(5, 5))
    return m:forward(a, { rows = "all" }).logits + m:forward(b, { rows = "all" }).logits
  end, "add:", "token", "different batches" },
  { "joining batches of 10 and 12 columns", function() return pl.cat({ zeros({ 10, 4 }, { "token", "hidden" }), zeros({ 12, 5 }, { "token", "hidden" }) }, "token") end,
    "cat:", "hidden", "4", "5" },
  { "q of 64 against k of 128", function() return zeros({ 2, 64 }, { "query", "head_dim" }):matmul(zeros({ 3, 128 }, { "key", "head_dim" }), { over = "head_dim" }) end,
    "matmul:", "head_dim", "64", "128" },
  { "matmul over an axis one side lacks", function() return zeros({ 2, 8 }, { "token", "hidden" }):matmul(zeros({ 8, 3 }, { "inner", "out" }), { over = "hidden" }) end,
    "matmul:", "hidden", "inner" },
  { "adding hidden 8 and hidden 9", function() return zeros({ 2, 8 }, { "token", "hidden" }) + zeros({ 9 }, { "hidden" }) end, "add:", "hidden", "8", "9" },
  { "adding an axis the other lacks", function() return zeros({ 8 }, { "hidden" }) * zeros({ 8 }, { "ffn" }) end, "multiply:", "hidden", "ffn" },
  { "an axis that is not there", function() return zeros({ 2, 8 }, { "token", "hidden" }):at { heads = 1 } end, "at:", "heads", "token=2", "hidden=8" },
  { "a near miss of an axis name", function() return zeros({ 2, 8 }, { "token", "head" }):at { heads = 1 } end, "at:", "heads", "did you mean", "head" },
  { "a position beyond the axis", function() return zeros({ 2, 8 }, { "token", "hidden" }):at { token = 3 } end, "at:", "token", "3", "2" },
  { "position zero of a counted axis", function() return zeros({ 2, 8 }, { "token", "hidden" }):at { token = 0 } end, "at:", "token", "0", "1" },
  { "merging axes that are not there", function() return zeros({ 2, 8 }, { "token", "hidden" }):merge({ "head", "head_dim" }, "hidden") end, "merge:", "head" },
  { "softmax over an axis it lacks", function() return zeros({ 2, 8 }, { "token", "hidden" }):softmax "vocab" end, "softmax:", "vocab", "hidden" },
  { "two axes of one name", function() return zeros({ 2, 8 }, { "token", "token" }) end, "token", "two axes" },
  { "sizes and names that disagree in number", function() return zeros({ 2, 8, 3 }, { "token", "hidden" }) end, "3", "2" },
  { "setting a tensor of another shape", function() zeros({ 2, 8 }, { "token", "hidden" }):set(zeros({ 2, 9 }, { "token", "hidden" })) end, "set:", "hidden", "8", "9" },
  { "item of many elements", function() return zeros({ 2, 8 }, { "token", "hidden" }):item() end, "item:", "16" },
  { "a prompt beyond the maximum length", function() return m:generate { ids = rows_of(513)[1], max_new_tokens = 4 } end, "513", "512", "truncate" },
  { "forward beyond the maximum length", function() return m:forward { rows_of(600)[1] } end, "600", "512" },
  { "an id outside the vocabulary", function() return m:forward { { 1, 5, 2048 } } end, "2048", "row 1" },
  { "a negative id", function() return m:forward { { 1, -1 } } end, "-1" },
  { "a row without tokens", function() return m:forward { { 1, 2 }, {} } end, "row 2" },
  { "ids padded without a mask", function() return m:forward { ids = pl.tensor({ { 0, 1, 5 }, { 1, 5, 6 } }, { dtype = "i32", axes = { "batch", "seq" } }) } end, "mask" },
  { "a mask with a hole", function() return pl.batch_from_padded({ { 1, 5, 6 } }, { { 1, 0, 1 } }) end, "hole", "row 1" },
  { "ids and mask of different widths", function() return pl.batch_from_padded({ { 1, 5, 6 } }, { { 1, 1 } }) end, "3", "2" },
  { "padding to fewer columns than the longest row", function() return pl.batch(rows_of(5, 9)):padded { to = 8 } end, "row 2", "9", "8" },
  { "splitting another batch's tensor", function()
    local a, b = pl.batch(rows_of(4, 6)), pl.batch(rows_of(5, 5))
    return b:split(m:forward(a, { rows = "all" }).logits)
  end, "token", "batch" },
  { "an option with a typo", function() return m:generate("x", { max_new_token = 5 }) end, "max_new_token", "did you mean", "max_new_tokens" },
  { "options that contradict each other", function() return m:generate("x", { do_sample = false, temperature = 0.5 }) end, "do_sample", "temperature" },
  { "an unknown trace path", function() return m:trace({ { 1, 5 } }, { "layers.9.attention" }) end, "layers.9.attention" },
  { "a method with a typo", function() return zeros({ 2 }, { "token" }):sofmax "token" end, "sofmax", "softmax" },
  { "a linear whose axis does not fit", function() return linear "layers.0.mlp.down_proj" end, "linear:", "48", "112", "layers.0.mlp.down_proj", "errors_spec.lua:" },
  { "a linear with the wrong output axis", function() return linear "layers.0.mlp.gate_proj" end, "linear:", "112", "48", "hidden", "errors_spec.lua:" },
  { "a ragged size asked for while tracing", function() return family_that(function(_, x) return x * x:size "token" end) end, "size:", "token", "while a pass is traced", "errors_spec.lua:" },
  { "a weight that is not there", function() return linear "layers.0.self_attn.query" end, "layers.0.self_attn.query", "self_attn.q_proj" },
}

for _, case in ipairs(cases) do
  t.test(case[1], function()
    local parts = {}
    for i = 3, #case do parts[#parts + 1] = case[i] end
    t.raises_table(case[2], unpack(parts))
  end)
end

t.test("there are at least 25 of them", function() t.ok(#cases >= 25) end)

t.test("the engine works after all of that", function()
  t.equal(#m:generate("Once upon a time", { max_new_tokens = 3, do_sample = false }).ids, 3)
end)

t.test("a tokenizer that belongs to another model", function()
  local folder = folder_of.copy(t.golden "llama-gqa", { ["tokenizer.model"] = { from = tales .. "/tokenizer.model" } })   -- 384 rows
  local err = t.raises_text(function() return pl.load(folder) end, "load:", "2047", "384", "another model")
  folder_of.remove_all()
  t.equal(err.code, "pairing")
end)
