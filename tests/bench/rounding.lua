-- What better roundings than the nearest are worth: the divergence from the model in f32 of types of 4 bits, rounded, by AWQ
-- and by GPTQ, and of `mixed` against a uniform type of the same bytes. The tables of docs/quantization.md.
--
--     perilune tests/bench/rounding.lua MODEL CALIBRATION.txt TEXT.txt [--tokens 2048] [--mixed q4_0] [--mixed_tokens 512]
--
-- CALIBRATION is what roundings look at (its first --tokens), TEXT what losses are measured on. A file of few bits is taken
-- as the numbers that it means.
local pl = require "perilune"
local core = require "perilune.core"

local o = { tokens = 2048, mixed_tokens = 512 }
local paths = dofile((arg[0]:match "^.*/" or "") .. "arguments.lua")("rounding", o, { mixed = true })
assert(#paths == 3, "rounding: name a model, a text to calibrate on and one to measure on")

local m = pl.load(paths[1], { compute = "f32" })
local calibration, text = core.read_file(paths[2]), core.read_file(paths[3])

-- Divergence, share of the same top token, MiB of all weights, seconds that quantizing took, and what it was measured on.
local function measure(recipe)
  local started = core.clock()
  local q = m:quantize(recipe)
  local took = core.clock() - started
  local report = q:quantization_report(text, { reference = m, layers = false })
  q:close()
  return { kl = report.kl_mean, same = report.same_top, bytes = report.bytes, seconds = took, text = report.text, plan = q.quantization_plan }
end

local function cell(found) return ("%.5f (%.1f %%; %.0f s)"):format(found.kl, 100 * found.same, found.seconds) end

print "mean KL divergence, nats a token (share of the same top token; seconds by the clock)"
if o.mixed then
  local uniform = measure { type = o.mixed }
  local mixed = measure { type = "mixed", bytes = uniform.bytes, calibration = calibration, calibration_tokens = o.mixed_tokens }
  print(("%s: %s; mixed of the same %.1f MiB: %s; measured on %s"):format(o.mixed, cell(uniform), uniform.bytes / 2 ^ 20, cell(mixed), mixed.text))
  return
end
print "| | rounding | AWQ | GPTQ |\n|---|---|---|---|"
for _, one in ipairs { { "`int4`, group=128", true }, { "the same, with zero points", false } } do
  local cells = {}
  for i, method in ipairs { "round", "awq", "gptq" } do
    local recipe = { type = "int4", group = 128, symmetric = one[2], method = method }
    if method ~= "round" then recipe.calibration, recipe.calibration_tokens = calibration, o.tokens end
    cells[i] = cell(measure(recipe))
  end
  print(("| %s | %s |"):format(one[1], table.concat(cells, " | ")))
  io.stdout:flush()
end
