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
      -- Held against the file: its elements in the type they are computed in, packed in panels.
      local elements = 0
      local file = pl.open("tests/golden/" .. name .. "/model.safetensors")
      for _, tensor in ipairs(file.names) do
        local size = 1
        for _, axis in ipairs(file.tensor(tensor).shape) do size = size * axis.size end
        elements = elements + size
      end
      local bytes = elements * (compute == "bf16" and 2 or 4)
      t.ok(memory.weights > 0.9 * bytes and memory.weights < 2.2 * bytes, ("weights %d, elements take %d"):format(memory.weights, bytes))
      t.ok(memory.workspace > 0)
      t.ok(estimate.fits.cpu)   -- where it does not: refusals_spec
    end)
  end
end
