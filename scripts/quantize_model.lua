-- A model in a quarter of its memory, kept as a folder: what it takes, what it says, and that it comes back the same.
--   perilune scripts/quantize_model.lua [MODEL] [TYPE] [FOLDER]
local pl = require "perilune"

local here = arg[0]:match "^(.*)/[^/]*$" or "."
local path, kind, folder = arg[1] or here .. "/models/tales", arg[2] or "int4", arg[3]
local prompt, greedy = "Once upon a time", { max_new_tokens = 24, do_sample = false }

local m = pl.load(path, { compute = "bf16" })
local small = m:quantize { type = kind, ["layers.0"] = "int8-weight" }   -- the first layer in more bits

for _, one in ipairs { m, small } do
  print(("%-12s %8.2f MiB  %s"):format(one.quantization and kind or "as stored", one:memory().weights / 2 ^ 20,
    one:generate(prompt, greedy).text))
end

local a, b = m:score(prompt).perplexity, small:score(prompt).perplexity
print(("perplexity of the prompt: %.2f, quantized %.2f"):format(a, b))

if folder then
  small:save(folder)
  local again = pl.load(folder)
  print(folder .. (again:weight "layers.1.mlp.up_proj":equal(small:weight "layers.1.mlp.up_proj") and " holds" or " does not hold")
    .. " the same weights to the bit")
end
