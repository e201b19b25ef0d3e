-- What loading costs: the file is read once, and never is twice the memory needed. Counted by the
-- system (bytes that reads returned) and by the device (its highest use).
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"

-- Bytes that this process has read so far, or nil where the system does not say.
local function bytes_read()
  local file = io.open "/proc/self/io"
  if not file then return nil end
  local text = file:read "*a"
  file:close()
  return tonumber(text:match "rchar: (%d+)")
end

local function file_bytes(path)
  local file = assert(io.open(path, "rb"))
  local size = file:seek "end"
  file:close()
  return size
end

t.test("memory for the weights and the one that is being read", function()
  local held = core.devices()[1].used
  local m = pl.load("scripts/models/tales", { compute = "f32", tokenizer = false, device = "cpu" })
  m:forward { { 1, 2, 3 } }
  local weights, peak = m:memory().weights, core.devices()[1].peak - held
  t.ok(weights > 8e6, "the model is too small to tell")
  t.ok(peak >= weights and peak < 1.5 * weights, ("%d bytes at most, for %d bytes of weights"):format(peak, weights))
end)

for _, model in ipairs { "scripts/models/tales", "tests/golden/llama-rope3-bf16", "tests/golden/t5-gated-untied" } do
  for _, mmap in ipairs { false, true } do
    t.test(("%s is read once (mmap=%s)"):format(model, tostring(mmap)), function()
      local stored, before = file_bytes(model .. "/model.safetensors"), bytes_read()
      if not before then t.skip "the system does not count what is read" end
      local m = pl.load(model, { compute = "f32", tokenizer = false, device = "cpu", mmap = mmap })
      m:forward { { 1, 2, 3 } }
      local read = bytes_read() - before
      if not mmap then t.ok(read >= stored * 0.95, ("%d bytes read of a file of %d"):format(read, stored)) end
      t.ok(read <= stored * (mmap and 0.1 or 1.05) + 2^18, ("%d bytes read of a file of %d"):format(read, stored))
    end)
  end
end
