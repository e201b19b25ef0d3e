-- Weights of few bits are multiplied as they are stored: what a script sees of it.
local pl = require "perilune"
local core = require "perilune.core"
local folder_of = require "folder_of"
local gguf_of = require "gguf_of"
local t = require "spec"

local ids = { 1, 9, 17, 4, 33, 21, 8, 2, 40, 11 }
local options = { tokenizer = false, device = "cpu" }

local state = 7
local function byte()
  state = state * 16807 % 2147483647
  return string.char(math.floor(state / 256) % 256)
end

-- Types with blocks of 32, as number in the file, bytes of a block and what it begins with: scales of about a
-- hundredth, so that sums are of the size of trained ones.
local types = {
  Q4_0 = { 2, 18, "\0\36" }, Q4_1 = { 3, 20, "\0\32\0\164" }, Q5_0 = { 6, 22, "\0\32" }, Q5_1 = { 7, 24, "\0\28\0\164" },
  Q8_0 = { 8, 34, "\0\20" }, IQ4_NL = { 20, 18, "\0\20" }, MXFP4 = { 39, 17, "\121" },
}
local names = {}
for name in pairs(types) do names[#names + 1] = name end
table.sort(names)

-- mistral-window with its layers' matrices in a type of few bits.
local function quantized(name)
  local number, bytes, head = types[name][1], types[name][2], types[name][3]
  local keys, tensors = gguf_of.parts(t.golden "mistral-window")
  for _, tensor in ipairs(tensors) do
    if tensor.name:find "^blk.*%.weight$" and tensor.sizes[2] then
      local blocks = {}
      for i = 1, tensor.sizes[1] * tensor.sizes[2] / 32 do
        local body = {}
        for k = 1, bytes - #head do body[k] = byte() end
        blocks[i] = head .. table.concat(body)
      end
      tensor.type, tensor.bytes = number, table.concat(blocks)
    end
  end
  local folder = folder_of.copy(t.golden "mistral-window", { ["config.json"] = false, ["model.safetensors"] = false,
    ["tokenizer.model"] = false, ["tokenizer_config.json"] = false, ["generation_config.json"] = false })
  core.write_file(folder .. "/model.gguf", gguf_of.bytes(keys, tensors))
  return folder .. "/model.gguf"
end

local function logits(m, input) return m:forward(input, { rows = "all" }).logits:to "f32" end

for _, name in ipairs(names) do
  t.test(name .. " is computed as it is stored", function()
    local path = quantized(name)
    local m = pl.load(path, options)
    t.equal(m.compute, "int8")
    local exact = pl.load(path, t.with(options, { compute = "f32" }))
    t.equal(exact.compute, "f32")
    local a, b = logits(m, { ids }), logits(exact, { ids })
    t.ok(a:max_difference(b) > 0, "activations are rounded")
    t.ok(a:close(b, 0.05), ("%s: off by %g"):format(name, a:max_difference(b)))
    t.equal(m:memory().weights, exact:memory().weights, "one packed form")
    t.ok(m:memory().weights < pl.load(t.golden "mistral-window", t.with(options, { compute = "f32" })):memory().weights)
  end)
end

t.test("a batch never changes an answer on weights of few bits", function()
  for _, compute in ipairs { "int8", "f32", "bf16" } do
    local m = pl.load(quantized "Q4_1", t.with(options, { compute = compute }))
    local rows = { ids, { 5 }, { 7, 8, 9 }, { 40, 39, 38, 37, 36, 35, 34 } }
    local all = m:forward(rows, { rows = "last" }).logits
    for i, row in ipairs(rows) do
      t.equal(m:forward({ row }, { rows = "last" }).logits:tolist()[1], all:tolist()[i])
    end
    local settings = { do_sample = false, max_new_tokens = 6 }
    local together = m:generate(rows, settings)
    for i, row in ipairs(rows) do t.equal(m:generate({ row }, settings)[1].ids, together[i].ids) end
  end
end)

t.test("compute = \"int8\" is for weights of few bits", function()
  t.raises_table(function() pl.load(t.golden "mistral-window", t.with(options, { compute = "int8" })) end, "few bits", "f32")
end)
