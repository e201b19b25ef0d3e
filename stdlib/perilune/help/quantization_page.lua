-- The table of docs/quantization.md: what each type of weights takes and loses. What depends on the machine that it was
-- measured on stands between marks, and is kept as it is unless it is measured again.
local pl = require "perilune"
local core = require "perilune.core"
local weight_types = require "perilune.loaded.weight_types"

local page = {}

local begin_mark, end_mark = "<!-- measured -->", "<!-- end of what was measured -->"
local rows, inputs = 64, 1024   -- of normal numbers that errors are of

-- What is shown, few bits first; the options of m:quantize beside the type.
local shown = {
  { "q2_k", "GGUF" }, { "q3_k", "GGUF" }, { "mxfp4", "GGUF" }, { "int4", "ours, GPTQ, AWQ", { group = 128 } },
  { "int4", "the same, with zero points", { group = 128, symmetric = false } }, { "nf4", "ours, bitsandbytes", { double_quantization = true } },
  { "int4", "ours, GPTQ, AWQ", { group = 64 } }, { "q4_k", "GGUF" }, { "q4_0", "GGUF" }, { "iq4_nl", "GGUF" }, { "nf4", "ours, bitsandbytes" },
  { "fp4", "ours, bitsandbytes" }, { "int4", "ours, GPTQ, AWQ", { group = 32 } }, { "int4", "the same, with zero points", { group = 32, symmetric = false } },
  { "q4_1", "GGUF" }, { "q5_k", "GGUF" }, { "q5_0", "GGUF" }, { "q5_1", "GGUF" }, { "q6_k", "GGUF" }, { "int8", "ours, LLM.int8 without outliers" },
  { "int8-weight", "ours" }, { "q8_0", "GGUF" }, { "bf16", "numbers" }, { "f16", "numbers" },
}

local function spelled(name, o)
  local words = {}
  for _, key in ipairs { "group", "symmetric", "double_quantization" } do
    if o[key] ~= nil then words[#words + 1] = ("%s=%s"):format(key, tostring(o[key])) end
  end
  return words[1] and ("`%s`, %s"):format(name, table.concat(words, ", ")) or "`" .. name .. "`"
end

local function relative(a, b)
  local d = a - b
  return math.sqrt((d * d):sum() / (b * b):sum())
end

-- Bits of a weight and the relative error of normal numbers.
local function figures(name, o, w)
  if weight_types.is_plain(name) then return 16, relative(w:to(name):to("f32"), w) end
  local storage = weight_types.storage(name, o, inputs)
  local blocks = core.write_blocks(storage, w)
  return 8 * blocks.bytes / (rows * inputs), relative(core.read_blocks(storage, blocks, inputs), w)
end

-- Normal numbers, the same everywhere: sums of twelve uniform ones.
local function normal_numbers()
  local state, list = 12345, {}
  local function uniform()
    state = (state * 16807) % 2147483647
    return state / 2147483647
  end
  for r = 1, rows do
    local row = {}
    for i = 1, inputs do
      local sum = -6
      for _ = 1, 12 do sum = sum + uniform() end
      row[i] = sum
    end
    list[r] = row
  end
  return pl.tensor(list, { axes = { "output", "input" } })
end

local function where_computed(name)
  if weight_types.is_plain(name) then return "products in " .. (name == "bf16" and "bf16 or f32" or "f32") end
  return ("codes, packed in %s bits"):format(name:match "%d")
end

local intro = [[
# Quantization

Written by `perilune scripts/make_quantization.lua`; a test holds the part above the figures of machines against what the
engine does today. How it is used: `perilune help quantization`. What a model of yours loses is measured by
`m:quantization_report()`, what each way of loading costs by `perilune bench MODEL --modes`, and what fits is said by
`perilune advise MODEL`.

## Types

Bits of a weight with its scales, and the relative error (root of the mean square) of numbers that are normally distributed,
rounded by the type's own rule. On the CPU codes are multiplied as they are stored; GPUs get numbers.

| type | whose | bits | error | in memory, on the CPU |
|---|---|---|---|---|
]]

--- The part that does not depend on the machine.
---@return string
function page.table()
  local w, lines = normal_numbers(), {}
  for i, one in ipairs(shown) do
    local name, whose, o = one[1], one[2], one[3] or {}
    local bits, error = figures(name, o, w)
    lines[i] = ("| %s | %s | %s | %s | %s |"):format(spelled(name, o), whose, ("%.3f"):format(bits):gsub("%.?0+$", ""),
      error < 0.001 and ("%.3f %%"):format(100 * error) or ("%.2f %%"):format(100 * error), where_computed(name))
  end
  return intro .. table.concat(lines, "\n") .. "\n"
end

--- The measured part of a page.
---@param text string
---@return string|nil
function page.measured(text)
  local _, first = text:find(begin_mark .. "\n", 1, true)
  local last = text:find(end_mark, 1, true)
  return first and last and text:sub(first + 1, last - 1) or nil
end

--- The whole page.
---@param measured string|nil what was measured on some machine
---@return string
function page.text(measured)
  return page.table() .. "\n" .. begin_mark .. "\n" .. (measured or "") .. end_mark .. "\n"
end

return page
