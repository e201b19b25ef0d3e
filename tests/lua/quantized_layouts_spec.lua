-- Published quantized layouts: the golden folders, other bits, groups and conventions, and damaged files.
local pl = require "perilune"
local core = require "perilune.core"
local folder_of = require "folder_of"
local quantized_of = require "quantized_of"
local reference = require "perilune.compare.reference"
local safetensors_of = require "safetensors_of"
local t = require "spec"

local exact = { tokenizer = false, device = "cpu", compute = "f32" }
local ids = { 1, 9, 17, 4, 3, 21, 8, 2, 20, 11 }

local function logits(m, input, rows) return m:forward(input, { rows = rows or "all" }).logits:to "f32" end

for _, name in ipairs { "llama-awq", "llama-gptq-act-order", "llama-bnb4-nf4-double", "llama-bnb8" } do
  t.test(name .. " has its published weights and logits", function()
    local folder = t.golden(name)
    local stored, m = pl.open(folder .. "/expected.safetensors"), pl.load(folder, exact)
    local count = 0
    for _, tensor in ipairs(stored.names) do
      local module = tensor:match "^(.*)%.dequantized$"
      if module then
        count = count + 1
        t.equal(m:weight(module):tolist(), stored.tensor(tensor):tolist())
      end
    end
    t.equal(count, 7)
    local expected = core.read_json(folder .. "/expected.json").forward[1]
    local theirs = reference.flatten(stored.tensor(expected.logits))
    t.ok(reference.difference(reference.flatten(logits(m, { expected.ids })), theirs) < 1e-4)
  end)
end

-- What is drawn, the compute mode that "auto" takes, and whether it must become float32.
local cases = {
  { "gptq 2 bits", { method = "gptq", bits = 2, group = 32, hidden = 64, ffn = 96 }, packed_bits = 2 + 24 / 32 },
  { "gptq 2 bits, act-order, groups of 128", { method = "gptq", bits = 2, group = 128, act_order = true, hidden = 128, ffn = 256 } },
  { "gptq 3 bits, v2", { method = "gptq", bits = 3, group = 32, v2 = true, hidden = 64, ffn = 96 }, packed_bits = 3 + 24 / 32 },
  { "gptq 3 bits, groups of 64", { method = "gptq", bits = 3, group = 64, hidden = 64, ffn = 128 }, packed_bits = 3 + 24 / 64 },
  { "gptq 3 bits, float scales", { method = "gptq", bits = 3, group = 32, scales = "F32" } },
  { "gptq 4 bits, one group", { method = "gptq", bits = 4, group = -1, hidden = 40, ffn = 72 } },
  { "gptq 4 bits, act-order, a short last group", { method = "gptq", bits = 4, group = 64, act_order = true } },
  { "gptq 4 bits, float scales", { method = "gptq", bits = 4, group = 32, scales = "F32" } },
  { "gptq 8 bits, v2, act-order", { method = "gptq", bits = 8, group = 32, act_order = true, v2 = true } },
  { "gptq 4 bits, groups of 20", { method = "gptq", bits = 4, group = 20, hidden = 40, ffn = 80 }, widened = true },
  { "awq, one group", { method = "awq", group = -1 } },
  { "awq, groups of 64", { method = "awq", group = 64, hidden = 128, ffn = 64 } },
  { "compressed-tensors int8", { method = "compressed-tensors", bits = 8, hidden = 40, ffn = 72 }, compute = "int8" },
  { "compressed-tensors int8, zero points", { method = "compressed-tensors", bits = 8, zeros = true } },
  { "compressed-tensors int4", { method = "compressed-tensors", bits = 4, group = 32, packed = true } },
  { "compressed-tensors int4, zero points", { method = "compressed-tensors", bits = 4, group = 32, packed = true, zeros = true } },
  { "compressed-tensors int4, a row each", { method = "compressed-tensors", bits = 4, packed = true, scales = "F16", hidden = 40, ffn = 72 } },
  { "compressed-tensors packed int8", { method = "compressed-tensors", bits = 8, group = 32, packed = true, scales = "F32" } },
  { "nf4, blocks of 64", { method = "bitsandbytes", kind = "nf4", block = 64, ffn = 128 } },
  { "nf4, blocks over the end of a row", { method = "bitsandbytes", kind = "nf4", block = 64, hidden = 96, ffn = 160 } },
  { "fp4, blocks of 128", { method = "bitsandbytes", kind = "fp4", block = 128, ffn = 128 } },
  { "nf4, blocks inside of no row", { method = "bitsandbytes", kind = "nf4", block = 64, hidden = 40, ffn = 72 }, widened = true },
  { "nf4, levels of its own", { method = "bitsandbytes", kind = "nf4", block = 64,
    map = { -1, -0.5, -0.25, 0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.8125, 0.875, 0.9375, 0.96875, 0.984375, 1 } }, widened = true },
}

local function drawn(o)
  o.config = { bits = o.bits, group_size = o.group, checkpoint_format = o.v2 and "gptq_v2" or nil, format = o.packed and "pack-quantized" or nil }
  return quantized_of.folder(o)
end

for _, case in ipairs(cases) do
  t.test(case[1] .. " means what its publisher says", function()
    local folder, values = drawn(case[2])
    local heard = {}
    pl.on_warning(function(text) heard[#heard + 1] = text end)
    local m = pl.load(folder, exact)
    pl.on_warning(nil)
    for module, meant in pairs(values) do t.equal(m:weight(module):tolist(), meant) end
    local dense = pl.load(folder, exact)
    for module in pairs(values) do dense:set_weight(module, dense:weight(module)) end
    local ours, theirs = logits(m, { ids }), logits(dense, { ids })
    local bound = case[2].act_order and 1e-5 * math.max(1, theirs:abs():max()) or 0   -- sums in another order
    t.ok(ours:max_difference(theirs) <= bound, ("off by %g"):format(ours:max_difference(theirs)))
    t.equal(#heard > 0, case.widened == true)
    if case.widened then t.ok(heard[1]:find "float32") end
    local auto = pl.load(folder, { tokenizer = false, device = "cpu" })
    t.equal(auto.compute, case.compute or "f32")
    if not case.widened then t.ok(m:memory().weights < dense:memory().weights, "codes stay codes") end
    if case.packed_bits then
      local elements = 0
      for _, rows in pairs(values) do elements = elements + #rows * #rows[1] end
      t.equal((dense:memory().weights - m:memory().weights) / elements, 4 - case.packed_bits / 8)
    end
  end)
end

t.test("a batch never changes an answer on quantized layouts", function()
  for _, index in ipairs { 1, 3, 7, 9, 13, 15, 19 } do
    local folder = drawn(cases[index][2])
    for _, compute in ipairs { "f32", "bf16", cases[index][2].kind == nil and "int8" or nil } do
      local m = pl.load(folder, t.with(exact, { compute = compute }))
      local rows = { ids, { 5 }, { 7, 8, 9 }, { 20, 19, 18, 17, 16, 15 } }
      local all = logits(m, rows, "last"):tolist()
      for i, row in ipairs(rows) do t.equal(logits(m, { row }, "last"):tolist()[1], all[i]) end
    end
  end
end)

-- Views split fused matrices (gpt2, phi3; gpt_neox head by head) and turn gpt2's, which quantized ones are already.
for _, case in ipairs {
  { "gpt2-plain", { "c_attn", "c_proj", "c_fc" }, turned = true }, { "phi3-fused-qkv", { "_proj" } }, { "gpt_neox-parallel", { "%.attention", "%.mlp" } },
  { "qwen2-bias", { "_proj" } }, { "bert-base", { "^encoder" } },
} do
  t.test(case[1] .. " reads quantized matrices through its views", function()
    local function chosen(name)
      for _, pattern in ipairs(case[2]) do if name:find(pattern) and name:find "weight$" then return true end end
      return false
    end
    local o = { method = "compressed-tensors", bits = 8, most = 2 }
    local quantized, dense = quantized_of.copies(t.golden(case[1]), chosen, o, case.turned)
    local heard = {}
    pl.on_warning(function(text) heard[#heard + 1] = text end)
    local answers = {}
    for i, folder in ipairs { quantized, dense } do
      local out = pl.load(folder, exact):forward({ ids }, { rows = "all", outputs = { case[1] == "bert-base" and "last_hidden_state" or "logits" } })
      answers[i] = (out.logits or out.last_hidden_state):tolist()
    end
    pl.on_warning(nil)
    t.equal(answers[1], answers[2])
    t.equal(heard, {})
  end)
end

t.test("levels are no whole numbers: compute = \"int8\" says so", function()
  t.raises_table(function() pl.load(t.golden "llama-bnb4-nf4-double", t.with(exact, { compute = "int8" })) end, "levels", "f32")
end)

-- Folders from before config.json told it.
for _, case in ipairs {
  { "llama-gptq-act-order", "quantize_config.json", function(c) return { bits = c.bits, group_size = c.group_size, desc_act = true, sym = c.sym } end },
  { "llama-awq", "quant_config.json", function(c) return { w_bit = c.bits, q_group_size = c.group_size, zero_point = true, version = "GEMM" } end },
} do
  t.test(case[1] .. " is told by " .. case[2], function()
    local from = t.golden(case[1])
    local config = core.read_json(from .. "/config.json")
    local own = case[3](config.quantization_config)
    config.quantization_config = nil
    local folder = folder_of.copy(from, { ["config.json"] = core.write_json(config), [case[2]] = core.write_json(own) })
    local m = pl.load(folder, exact)
    t.equal(logits(m, { { 1, 2, 3 } }):tolist(), logits(pl.load(from, exact), { { 1, 2, 3 } }):tolist())
    local other = folder_of.files {}
    m:quantize({ ["*"] = "int8-weight" }):save(other)
    t.ok(not core.file_exists(other .. "/" .. case[2]), "what is saved says no longer how it was")
    t.equal(logits(pl.load(other, exact), { { 1, 2, 3 } }).shape, logits(m, { { 1, 2, 3 } }).shape)
  end)
end

-- A golden folder with its tensors or its quantization_config changed.
local function damaged(name, change)
  local from = t.golden(name)
  local list, config = safetensors_of.stored(from .. "/model.safetensors"), core.read_json(from .. "/config.json")
  local by_name = {}
  for _, tensor in ipairs(list) do by_name[tensor.name] = tensor end
  change(by_name, config.quantization_config)
  local kept = {}
  for _, tensor in ipairs(list) do if by_name[tensor.name] then kept[#kept + 1] = tensor end end
  return folder_of.copy(from, { ["model.safetensors"] = safetensors_of.bytes(kept), ["config.json"] = core.write_json(config) })
end

local q = "model.layers.0.self_attn.q_proj"
local function drop(part) return function(tensors) tensors[q .. part] = nil end end
local function put(part, at, bytes)
  return function(tensors)
    local tensor = tensors[q .. part]
    tensor.bytes = tensor.bytes:sub(1, at) .. bytes .. tensor.bytes:sub(at + #bytes + 1)
  end
end
local function resized(part, shape, bytes)
  return function(tensors)
    local tensor = tensors[q .. part]
    tensor.shape, tensor.bytes = shape, tensor.bytes:sub(1, bytes)
  end
end
local function configured(key, value) return function(_, config) config[key] = value end end

local gptq, awq, nf4, int8 = "llama-gptq-act-order", "llama-awq", "llama-bnb4-nf4-double", "llama-bnb8"
local damages = {
  { gptq, configured("group_size", 16), "groups of 16 are 8 groups, it has 4" },
  { gptq, configured("group_size", 0), "group_size 0" },
  { gptq, configured("bits", 5), "5 bits" },
  { gptq, configured("bits", 8), "expected sizes [any, 16]" },
  { gptq, configured("checkpoint_format", "marlin"), "marlin" },
  { gptq, configured("quant_method", "hqq"), "hqq" },
  { gptq, resized(".qzeros", { 1, 8 }, 32), "expected sizes [2, 8]" },
  { gptq, resized(".scales", { 1, 64 }, 128), "2 groups, it has 1" },
  { gptq, put(".g_idx", 4, "\7\0\0\0"), "input 2 is of group 7, there are 0 to 1" },
  { gptq, put(".g_idx", 0, "\255\255\255\255"), "group -1" },
  { gptq, put(".scales", 6, "\0\126"), "entry 4 of 128 is NaN" },
  { gptq, put(".scales", 0, "\0\124"), "is infinite" },
  { gptq, drop ".scales", 'no part "scales"' },
  { gptq, drop ".qweight", 'no part "qweight"' },
  { gptq, drop ".qzeros", 'no part "qzeros"' },
  { gptq, function(tensors) tensors[q .. ".qweight"].dtype = "F32" end, "expected i32" },
  { awq, configured("version", "gemv"), "gemv" },
  { awq, configured("group_size", 64), "groups of 64 are 2 groups, it has 4" },
  { awq, resized(".qzeros", { 2, 4 }, 32), "expected sizes [2, 8]" },
  { nf4, drop ".weight.absmax", 'no part "weight.absmax"' },
  { nf4, drop ".weight.nested_absmax", 'no part "weight.nested_absmax"' },
  { nf4, drop ".weight.quant_state.bitsandbytes__nf4", "quant_state" },
  { nf4, put(".weight.quant_state.bitsandbytes__nf4", 0, "!"), "q_proj.weight.quant_state" },
  { nf4, put(".weight.nested_absmax", 0, "\0\0\192\127"), "is NaN" },
  { nf4, resized(".weight", { 1024, 1 }, 1024), "2048 bytes, it has 1024" },
  { nf4, resized(".weight.absmax", { 32 }, 32), "expected sizes [64]" },
  { int8, drop ".weight_format", false },
  { int8, drop ".SCB", "stored as i8" },
  { int8, resized(".SCB", { 32 }, 128), "expected sizes [64]" },
  { int8, put(".weight_format", 0, "\2"), "format 2" },
}
for i, damage in ipairs(damages) do
  t.test(("damage %d: %s"):format(i, damage[3] or "not needed"), function()
    local folder = damaged(damage[1], damage[2])
    local ok, err = pl.try(function()
      local m = pl.load(folder, exact)
      return logits(m, { { 1, 2 } })
    end)
    if not damage[3] then return t.ok(ok, tostring(err)) end
    t.ok(not ok, "an error")
    t.ok(tostring(err):find(damage[3], 1, true), tostring(err))
    local in_config = tostring(err):find("quantization_config", 1, true) ~= nil
    t.ok(in_config or tostring(err):find("model.layers.0", 1, true), "names the tensor: " .. tostring(err))
  end)
end

t.test("any damage is an error or an answer", function()
  local state = 5
  local function below(n)
    state = state * 16807 % 2147483647
    return math.floor(state / 64) % n
  end
  local others = { I32 = "F32", F32 = "I32", F16 = "BF16", BF16 = "F16", U8 = "I8", I8 = "U8" }
  local function spoil(tensors)
    local parts = {}
    for name in pairs(tensors) do if name:find(q, 1, true) then parts[#parts + 1] = name end end
    table.sort(parts)
    local tensor, kind = tensors[parts[1 + below(#parts)]], below(5)
    if kind == 0 then
      tensors[tensor.name] = nil
    elseif kind == 1 then
      tensor.dtype = others[tensor.dtype]
    elseif kind == 2 and #tensor.shape > 0 then   -- a row less
      local row = #tensor.bytes / tensor.shape[1]
      tensor.shape[1], tensor.bytes = tensor.shape[1] - 1, tensor.bytes:sub(1, #tensor.bytes - row)
    elseif kind == 3 and #tensor.shape == 2 then   -- turned
      tensor.shape[1], tensor.shape[2] = tensor.shape[2], tensor.shape[1]
    else
      local at = below(#tensor.bytes)
      tensor.bytes = tensor.bytes:sub(1, at) .. string.char(below(256)) .. tensor.bytes:sub(at + 2)
    end
  end
  pl.on_warning(function() end)
  local refused = 0
  for i = 1, 120 do
    local name = ({ gptq, awq, nf4, int8 })[1 + i % 4]
    local ok, err = pl.try(function() return logits(pl.load(damaged(name, spoil), exact), { { 1, 2 } }) end)
    if not ok then
      refused = refused + 1
      t.ok(({ format = true, unsupported = true, shape = true })[err.code], tostring(err))
    end
  end
  pl.on_warning(nil)
  t.ok(refused > 30, refused .. " refused")
end)
