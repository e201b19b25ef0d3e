-- m:quantize with methods: GPTQ loses less than rounding, AWQ's layers too, mixed less than any one type of its size; what a killed
-- search has finished is kept.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"

local tales = "scripts/models/tales"
local m = pl.load(tales, { compute = "f32", device = "cpu" })

-- Texts of the model's own kind; other seeds, other texts.
local function texts(count, seed)
  local starts, prompts, rows = { "Once upon a time", "Max was a brave", "Long ago, a shy cat", "Riddle:" }, {}, {}
  for i = 1, count do
    prompts[i] = { prompt = starts[(i - 1) % #starts + 1], seed = seed + i, do_sample = true, temperature = 1, top_p = 1, min_new_tokens = 80, max_new_tokens = 80 }
  end
  for i, r in ipairs(m:generate(prompts)) do rows[i] = m.tokenizer:ids(prompts[i].prompt .. r.text) end
  return rows
end
local calibration, held_out = texts(16, 100), texts(12, 900)

local function kl(q) return q:quantization_report(held_out, { reference = m, layers = false }).kl_mean end

local recipe = { type = "int4", group = 128 }
local plain = m:quantize(recipe, { compute = "f32" })
local rounded = kl(plain)

local function with(changes)
  local r = { type = "int4", group = 128, calibration = calibration }
  for key, value in pairs(changes) do r[key] = value end
  return r
end

-- Inputs of which some always go together, and weights.
local function problem()
  local base = pl.random({ 200, 24 }, { axes = { "token", "k" }, seed = 5 }) - 0.5
  local mix = pl.random({ 24, 64 }, { axes = { "k", "input" }, seed = 6 }) - 0.5
  local x = base:matmul(mix, { over = "k" })
  local w = pl.random({ 16, 64 }, { axes = { "output", "input" }, seed = 7 }) - 0.5
  return w, x, x:matmul(x:rename { input = "other" }, { over = "token" }):order("input", "other")
end

local function loss(storage, blocks, w, x)
  local d = x:matmul(w - core.read_blocks(storage, blocks, 64), { over = "input" })
  return (d * d):sum()
end

t.test("core.gptq: less is lost of what the inputs see, in either order; what the type has stays", function()
  local w, x, moments = problem()
  for _, storage in ipairs { "INT4_32", "INT4Z_32", "INT4_64", "NF4", "Q4_0", "Q4_1", "IQ4_NL" } do
    local round = core.write_blocks(storage, w)
    for _, ordered in ipairs { true, false } do
      local blocks = core.gptq(storage, w, moments, { activation_order = ordered })
      t.equal(blocks.bytes, round.bytes)
      local share = loss(storage, blocks, w, x) / loss(storage, round, w, x)
      t.ok(share < 0.6, ("%s loses %.2f of what rounding loses"):format(storage, share))
    end
    local held = core.read_blocks(storage, round, 64)
    t.equal(loss(storage, core.gptq(storage, held, moments), held, x) < 1e-6 * loss(storage, round, w, x) + 1e-9, true, storage)
  end
end)

t.test("core.gptq: mistakes are named", function()
  local w, _, moments = problem()
  t.raises_text(function() core.gptq("Q6_K", w, moments) end, "code by code")
  t.raises_text(function() core.gptq("F32", w, moments) end, "F32")
  t.raises_text(function() core.gptq("INT4_32", w, pl.zeros({ 3, 3 }, { axes = { "input", "other" } })) end, "moments")
  t.raises_text(function() core.gptq("INT4_32", w, moments * (0 / 0)) end, "finite")
  t.raises_text(function() core.read_blocks("INT4_32", core.write_blocks("INT4_32", w), 65) end, "65 inputs")
end)

-- Mean share of their outputs that layers lose, of those that norms feed.
local function fed_by_norms(q)
  local sum, count = 0, 0
  for _, layer in ipairs(q:quantization_report(held_out, { reference = m, tokens = 100 }).layers) do
    if layer.name:find "[qkv]_proj" or layer.name:find "gate_proj" or layer.name:find "up_proj" then
      sum, count = sum + layer.output_error, count + 1
    end
  end
  return sum / count
end

-- Whole searches: too long under a sanitizer, which sees the functions above.
local function search_test(name, run)
  t.test(name, function()
    if (os.getenv "PERILUNE_SANITIZE" or "") ~= "" then t.skip "whole searches are too long under a sanitizer" end
    run()
  end)
end

search_test("GPTQ loses less than rounding, at the same size", function()
  local q = m:quantize(with { method = "gptq" }, { compute = "f32" })
  local lost = kl(q)
  t.ok(lost < 0.8 * rounded, ("gptq loses %.5f nats, rounding %.5f"):format(lost, rounded))
  t.equal({ q:memory().weights, q.quantization.method }, { plain:memory().weights, "gptq" })
end)

search_test("AWQ's layers lose less of their outputs than rounding, at the same size", function()
  local q = m:quantize(with { method = "awq" }, { compute = "f32" })
  local lost, before = fed_by_norms(q), fed_by_norms(plain)   -- inputs that were scaled are put back
  t.ok(lost < before, ("awq loses %.4f of the outputs, rounding %.4f"):format(lost, before))
  -- The first 512 tokens of the calibration are what decides which norms are scaled: never for the worse there.
  local rows, count = {}, 0
  for _, row in ipairs(calibration) do
    if count < 512 then rows[#rows + 1], count = row, count + #row end
  end
  local function diverges(of) return of:quantization_report(rows, { reference = m, layers = false, tokens = count }).kl_mean end
  t.ok(diverges(q) <= 1.001 * diverges(plain), ("awq loses %.5f nats, rounding %.5f"):format(diverges(q), diverges(plain)))
  t.equal({ q:memory().weights, q.quantization.method }, { plain:memory().weights, "awq" })
end)

-- MiB that the search takes at most, beside what was there before it.
local function most_memory(method)
  local program = os.getenv "PERILUNE" or arg[-1]
  if not program then t.skip "the program's own path is not known" end
  local script = os.tmpname()
  core.write_file(script, ([[
    local pl = require "perilune"
    local m, rows = pl.load("scripts/models/tales", { compute = "f32", device = "cpu" }), {}
    for i = 1, 8 do rows[i] = m.tokenizer:ids(("A shy cat, the %%dth, who liked to sing. "):format(i):rep(8)) end
    m:forward(rows, { rows = "all" })
    local function cpu() for _, d in ipairs(pl.devices()) do if d.name == "cpu" then return d end end end
    local before = cpu().used
    m:quantize { type = "int4", group = 128, method = "%s", calibration = rows }
    print((cpu().peak - before) / 2 ^ 20)
  ]]):format(method))
  local pipe = assert(io.popen(("'%s' '%s'"):format(program, script)))
  local said = pipe:read "*a"
  pipe:close()
  os.remove(script)
  return assert(tonumber(said), said)
end

search_test("models that AWQ tries do not stand beside each other", function()
  local awq, gptq = most_memory "awq", most_memory "gptq"
  t.ok(awq < 1.3 * gptq, ("awq takes %.1f MiB, gptq %.1f"):format(awq, gptq))
end)

search_test("a search that was killed goes on where it was, to the same bits", function()
  local folder = os.tmpname()
  os.remove(folder)
  local whole = m:quantize(with { method = "gptq" }, { compute = "f32" })
  local seen = 0
  t.raises_text(function()
    m:quantize(with { method = "gptq", folder = folder }, { compute = "f32", on_progress = function(done)
      seen = done
      if done == 20 then error "killed" end
    end })
  end, "killed")
  t.equal(seen, 20)
  t.ok(#core.list_directory(folder) >= 20)
  local again = m:quantize(with { method = "gptq", folder = folder }, { compute = "f32" })
  for _, path in ipairs { "layers.0.self_attn.q_proj", "layers.3.mlp.down_proj", "layers.5.mlp.up_proj" } do
    t.ok(again:weight(path):equal(whole:weight(path)), path)
  end
  t.raises_text(function() m:quantize(with { method = "gptq", folder = folder, damping = 0.1 }) end, "another search")
  for _, name in ipairs(core.list_directory(folder)) do os.remove(folder .. "/" .. name) end
  os.remove(folder)
end)

-- Bytes of a model's weights as they are stored.
local function stored_bytes(q)
  local bytes, checkpoint = 0, rawget(q, "state_").checkpoint
  for name, same_as in pairs(checkpoint:to_save()) do
    if same_as == "" then bytes = bytes + select(2, checkpoint:storage(name)) end
  end
  return bytes
end

search_test("mixed loses less than one type of its size, and says why", function()
  local uniform = m:quantize("q4_0", { compute = "f32" })
  local report = uniform:quantization_report(held_out, { reference = m, layers = false })
  local bytes = stored_bytes(uniform)
  local q = m:quantize({ type = "mixed", bytes = bytes, calibration = calibration, calibration_tokens = 256 }, { compute = "f32" })
  local lost = kl(q)
  t.ok(lost < report.kl_mean, ("q4_0 loses %.5f, mixed %.5f"):format(report.kl_mean, lost))
  t.ok(tostring(q.quantization_plan):find("layers.0.mlp.down_proj", 1, true))
  t.ok(stored_bytes(q) <= bytes)
end)

t.test("mixed.allocate: the budget is spent where it saves most for a byte", function()
  local mixed, list = require "perilune.quantization.mixed", {}
  for i = 1, 3 do list[i] = { path = "l" .. i, types = { { bytes = 10, cost = 4 * i }, { bytes = 15, cost = i }, { bytes = 30, cost = 0 } } } end
  local chosen, bytes, cost = mixed.allocate(list, function(sum) return sum <= 60 end)
  t.equal({ chosen.l1.bytes, chosen.l2.bytes, chosen.l3.bytes, bytes, cost }, { 15, 15, 30, 60, 3 })
  chosen, bytes = mixed.allocate(list, nil, function(sum) return sum <= 15 end)
  t.equal({ chosen.l1.bytes, chosen.l2.bytes, chosen.l3.bytes, bytes }, { 10, 10, 15, 35 })
end)

t.test("mistakes are named", function()
  for _, case in ipairs {
    { "mixed", "needs a budget" }, { { type = "mixed", bytes = 1e6, kl = 1 }, "needs a budget" }, { { type = "mixed", bytes = 100 }, "takes" },
    { { type = "int4", method = "gptk" }, "gptk" }, { { type = "int4", damping = 0.1 }, "means nothing" },
    { { type = "int4", method = "awq", damping = 0.1 }, "means nothing" }, { { type = "mixed", method = "gptq", kl = 1 }, "rounds them plainly" },
  } do
    t.raises_text(function() m:quantize(case[1]) end, case[2])
  end
  local encoder = pl.load("scripts/models/reviews", { compute = "f32" })
  t.raises_text(function() encoder:quantize { type = "int4", method = "gptq" } end, "continue texts")
end)
