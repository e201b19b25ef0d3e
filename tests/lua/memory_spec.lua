-- What a model takes: said before anything is loaded, and what it is then.
local pl = require "perilune"
local t = require "spec"

local function near(a, b, what) t.ok(math.abs(a - b) <= 0.05 * math.max(a, b), ("%s: %d, %d"):format(what, a, b)) end

for _, name in ipairs { "llama-gqa", "gpt2-plain", "bert-sequence", "t5-gated-untied", "bart-plain", "qwen2-bias", "phi3-fused-qkv",
  "gemma2-softcap" } do
  for _, compute in ipairs { "f32", "bf16" } do
    t.test(("%s in %s: the estimate holds"):format(name, compute), function()
      local estimate = pl.estimate("tests/golden/" .. name, { compute = compute })
      local m = pl.load("tests/golden/" .. name, { compute = compute })
      local memory = m:memory()
      near(estimate.weights, memory.weights, "weights")
      near(estimate.workspace, memory.workspace, "workspace")
      t.equal(estimate.cache_per_token, memory.cache_per_token)
      local sum = 0
      for _, bytes in pairs(memory.by_device) do sum = sum + bytes end
      t.equal(sum, memory.weights + memory.cache + memory.workspace)
      for device, fits in pairs(estimate.fits) do t.ok(type(device) == "string" and fits == true) end
    end)
  end
end
