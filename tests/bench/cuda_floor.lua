-- What a decode step of Llama shapes should take on a GPU, from what is known without one: the bytes
-- that it must read, the compiled kernels' registers and shared memory, how many bytes a processor
-- can have on their way to it, and the kernels that the emulator was given for a step of small models
-- of that form. A model, not a measurement: it says where the design stands against the floor, and
-- which product is too small to fill the machine.
--   build/release/perilune tests/bench/cuda_floor.lua [libperilune_cuda.so]
-- CUOBJDUMP names the toolkit's cuobjdump where it is not in the path.
local library = arg and arg[1] or "build/release/libperilune_cuda.so"

-- H200: 132 multiprocessors of 64 K registers, 2048 threads and 227 KiB; 4.3 TB/s attainable; a load
-- from memory takes about 700 ns; about 1.3 us a kernel inside a graph, 2.5 us one by one.
local gpu = { processors = 132, registers = 65536, threads = 2048, shared = 227 * 1024, bandwidth = 4.3e12,
  latency = 700e-9, graph_launch = 1.3e-6, launch = 2.5e-6 }

-- Published configurations.
local models = {
  { name = "1B", layers = 16, hidden = 2048, ffn = 8192, heads = 32, kv_heads = 8, head_dim = 64, vocab = 128256 },
  { name = "8B", layers = 32, hidden = 4096, ffn = 14336, heads = 32, kv_heads = 8, head_dim = 128, vocab = 128256 },
}
local context = 1024

-- The kernels for few rows (linear_bf16.cu) by columns of eight: their registers, as the compiler says
-- (sm_90), strips of 16 outputs and pairs of tiles ahead.
local function kernels_used()
  local path = os.getenv "CUOBJDUMP" or "cuobjdump"
  local pipe = assert(io.popen(path .. " --dump-resource-usage " .. library .. " 2>/dev/null | c++filt"))
  local arch, name, found = nil, nil, {}
  for line in pipe:lines() do
    arch = line:match "^arch = (%S+)" or arch
    name = line:match "^%s*Function (.+):$" or name
    local registers = line:match "REG:(%d+)"
    if registers and arch == "sm_90" and name:find("few_rows<", 1, true) then
      -- <Columns, Strips, Ahead, Rounded, Gated, Normed>, as c++filt writes numbers and truths
      local form = {}
      for each in (name:match "FewForm<([^>]*)>" or ""):gmatch "[^,%s]+" do
        form[#form + 1] = each:gsub("^%(%a+%)", "")
      end
      local columns, strips, ahead, gated, normed = form[1], form[2], form[3], form[5], form[6]
      if columns then
        local yes = { ["true"] = true, ["1"] = true }
        local kind = columns .. (yes[gated] and " gated" or "") .. (yes[normed] and " normed" or "")
        found[kind] = { registers = tonumber(registers), strips = tonumber(strips), ahead = tonumber(ahead) }
      end
    end
  end
  pipe:close()
  return found
end

local kernels_of = kernels_used()
if not kernels_of["1"] then
  io.stderr:write("cuda_floor: no resource usage of ", library, " (is the toolkit there?)\n")
  os.exit(1)
end

local function ceil_div(a, b) return math.floor((a + b - 1) / b) end

-- The cut of linear_device.h.
local function segments(outputs, inputs)
  local count = math.max(1, math.min(ceil_div(528, ceil_div(outputs, 16)), 8, math.floor(inputs / 128)))
  local length = ceil_div(ceil_div(inputs, count), 32) * 32
  return ceil_div(inputs, length)
end

-- Seconds of one product for `rows` rows: bytes over the rate that the loads in flight allow
-- (Little's law), never above what memory gives.
-- `beside`: what the product does of its own, as the kernels do it. Gated: outputs of both weights,
-- which the cut takes one by one. Weights that are cut differently give all of a launch's blocks the
-- most warps that any has; only those of a weight count here.
local function product(outputs, inputs, rows, beside)
  local columns = rows <= 8 and 1 or rows <= 16 and 2 or 4
  local gated = beside:find "gated" and " gated" or ""
  local kernel = kernels_of[columns .. gated .. (columns == 1 and beside:find "normed" and " normed" or "")]
  local warps = segments(gated == "" and outputs or outputs / 2, inputs)
  local threads = warps * 32
  local shared = warps * kernel.strips * columns * 4 * 32 * 4 + 1024
  local by_registers = math.floor(gpu.registers / (math.ceil(kernel.registers / 8) * 8 * threads))
  local blocks = math.min(by_registers, math.floor(gpu.threads / threads), math.floor(gpu.shared / shared), 32)
  local resident = math.min(blocks, ceil_div(ceil_div(outputs, 16 * kernel.strips), gpu.processors)) * warps
  local in_flight = resident * kernel.ahead * kernel.strips * 1024 * gpu.processors   -- a pair of tiles: 1 KiB
  local rate = math.min(gpu.bandwidth, in_flight / gpu.latency)
  local bytes = outputs * inputs * 2 * ceil_div(rows, 32)
  return bytes / rate, bytes, rate
end

-- Kernels and copies to the host of one decode step, as the emulator counts them.
local function recorded(folder, rows)
  local pl = require "perilune"
  local m = pl.load(folder, { device = "emulator", compute = "bf16" })
  local function device()
    for _, each in ipairs(pl.devices()) do
      if each.name == m.device then return each end
    end
  end
  local engine = pl.engine(m)
  for row = 1, rows do   -- keys of one row decide into how many parts all are cut
    local ids = {}
    for i = 1, row == 1 and 300 or 2 do ids[i] = i * 7 % 90 + 3 end
    engine:submit(ids, { max_new_tokens = 8, do_sample = true, seed = row, min_new_tokens = 8 })
  end
  for _ = 1, 3 do engine:step() end   -- all prompts are in
  local before = device()
  engine:step()
  local after = device()
  return after.launches - before.launches, after.copies_out - before.copies_out
end

-- Two models that differ in layers alone say what a layer takes.
local scratch = os.tmpname()
os.remove(scratch)
local program = arg and arg[-1] or "build/release/perilune"
for _, layers in ipairs { 2, 4 } do
  local made = ("%s tests/gpu/random_model.lua %s-%d tiny %d"):format(program, scratch, layers, layers)
  assert(io.popen(made):close(), made)
end
local counted = {}
for _, rows in ipairs { 1, 8, 32 } do
  local two, copies = recorded(scratch .. "-2", rows)
  local a_layer = (recorded(scratch .. "-4", rows) - two) / 2
  counted[rows] = { layer = a_layer, once = two - 2 * a_layer, copies = copies }
end
for _, layers in ipairs { 2, 4 } do
  for _, file in ipairs { "config.json", "model.safetensors", "" } do os.remove(("%s-%d/%s"):format(scratch, layers, file)) end
end

local function step(model, rows)
  local attention_width = model.heads * model.head_dim
  local kv_width = model.kv_heads * model.head_dim
  local products = {
    { "q, k, v", attention_width + 2 * kv_width, model.hidden, model.layers, "normed" },
    { "o", model.hidden, attention_width, model.layers, "" },
    { "gate, up", 2 * model.ffn, model.hidden, model.layers, "gated, normed" },
    { "down", model.hidden, model.ffn, model.layers, "" },
    { "lm_head", model.vocab, model.hidden, 1, "" },
  }
  local seconds, bytes, lines = 0, 0, {}
  for _, p in ipairs(products) do
    local s, b, rate = product(p[2], p[3], rows, p[5])
    seconds, bytes = seconds + s * p[4], bytes + b * p[4]
    lines[#lines + 1] = ("%s %.0f %%"):format(p[1], 100 * rate / gpu.bandwidth)
  end
  local cache = rows * context * 2 * kv_width * 2 * model.layers
  seconds, bytes = seconds + cache / gpu.bandwidth, bytes + cache
  local kernels = model.layers * counted[rows].layer + counted[rows].once
  return bytes / gpu.bandwidth, seconds + kernels * gpu.graph_launch, seconds + kernels * gpu.launch, lines
end

for _, rows in ipairs { 1, 8, 32 } do
  print(("%d rows, more than 256 keys: %d kernels a layer and %d more a step, %d copies to the host, as the emulator was given them")
    :format(rows, counted[rows].layer, counted[rows].once, counted[rows].copies))
end
print ""
print "| model | rows | floor, ms | modelled in a graph, ms (times floor) | modelled one by one, ms | memory rate that the loads in flight allow |"
print "|---|---|---|---|---|---|"
for _, model in ipairs(models) do
  for _, rows in ipairs { 1, 8, 32 } do
    local floor, graph, plain, lines = step(model, rows)
    print(("| %s | %d | %.2f | %.2f (%.2f) | %.2f | %s |"):format(model.name, rows, floor * 1e3, graph * 1e3, graph / floor, plain * 1e3, table.concat(lines, ", ")))
  end
end
