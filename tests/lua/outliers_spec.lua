-- LLM.int8's decomposition: inputs of large magnitude multiplied apart, a mode that is not batch-invariant.
local pl = require "perilune"
local t = require "spec"

local program = os.getenv "PERILUNE" or arg[-1]
local golden = t.golden "llama-bnb8"
local ids = { 1, 9, 17, 4, 3, 21, 8, 2, 20, 11 }

-- Warnings are looked at by the tests that want them.
local function load(o)
  pl.on_warning(function() end)
  local fine, m = pcall(pl.load, golden, t.with({ tokenizer = false, device = "cpu", cache = "f32" }, o))
  pl.on_warning(nil)
  return fine and m or error(m, 0)
end

local function logits(m, rows) return m:forward(rows, { rows = "all" }).logits:to "f32" end

t.test("everything apart is the product in f32, nothing apart the one of codes", function()
  local whole, none = logits(load { outliers = 1e-30 }, { ids }), logits(load { outliers = 1e30 }, { ids })
  local f32, int8 = logits(load { compute = "f32" }, { ids }), logits(load {}, { ids })
  t.equal(whole:tolist(), f32:tolist())
  t.equal(none:tolist(), int8:tolist())
  t.ok(f32:max_difference(int8) > 0)
end)

-- The sum by hand: columns that any row reaches in f32, the others rounded in blocks of 32 to 127 steps.
local function by_hand(x, weight, from)
  local apart, out = {}, {}
  for _, row in ipairs(x) do for k, value in ipairs(row) do apart[k] = apart[k] or math.abs(value) >= from end end
  for r, row in ipairs(x) do
    local rounded = {}
    for first = 1, #row, 32 do
      local most, last = 0, math.min(first + 31, #row)
      for k = first, last do if not apart[k] then most = math.max(most, math.abs(row[k])) end end
      for k = first, last do
        local step = most / 127
        rounded[k] = apart[k] and row[k] or step > 0 and math.floor(row[k] / step + 0.5) * step or 0
      end
    end
    out[r] = {}
    for o, line in ipairs(weight) do
      local sum = 0
      for k, value in ipairs(line) do sum = sum + value * rounded[k] end
      out[r][o] = sum
    end
  end
  return out, apart
end

t.test("some apart: what the published algorithm adds up", function()
  local from = 1.5
  pl.on_warning(function() end)
  local m = pl.load(t.golden "llama-gqa", { tokenizer = false, device = "cpu", quantize = { ["*"] = "int8", lm_head = "int8" }, outliers = from })
  pl.on_warning(nil)
  local rows = {}
  for r, id in ipairs(ids) do rows[r] = { id } end   -- the head sees the last token of each
  local trace = m:trace(rows, { "norm", "logits" })
  local x, ours = trace.norm:tolist(), trace.logits:tolist()
  local theirs, apart = by_hand(x, m:weight "lm_head":tolist(), from)
  local count = 0
  for _, is in pairs(apart) do if is then count = count + 1 end end
  t.ok(count > 0 and count < #apart, ("%d of %d columns are apart"):format(count, #apart))
  local most = 0
  for r, row in ipairs(ours) do for o, value in ipairs(row) do most = math.max(most, math.abs(value - theirs[r][o])) end end
  t.ok(most < 1e-4, ("off by %g"):format(most))
end)

t.test("outliers apart lose less where a few inputs are large", function()
  local exact = logits(load { compute = "f32" }, { ids })
  local apart, plain = logits(load { outliers = 1.5 }, { ids }), logits(load {}, { ids })
  t.ok(apart:max_difference(exact) < plain:max_difference(exact),
    ("%g apart, %g without"):format(apart:max_difference(exact), plain:max_difference(exact)))
end)

t.test("a neighbour may change an answer, and the model says so", function()
  local heard = {}
  pl.on_warning(function(text) heard[#heard + 1] = text end)
  local m = pl.load(golden, { tokenizer = false, device = "cpu", outliers = 1.5 })
  pl.on_warning(nil)
  t.equal(#heard, 1)
  t.ok(heard[1]:find "not batch%-invariant")
  t.equal(m.warnings, heard)
  t.equal(m.outliers, 1.5)
  t.ok(tostring(m):find "outliers from 1.5 apart: not batch%-invariant", tostring(m))
  local alone = logits(m, { { 5, 6 } }):tolist()
  local beside = logits(m, { { 5, 6 }, ids }):tolist()
  t.ok(alone[1][1] ~= beside[1][1], "the first row's answer has other bits")
end)

t.test("scripts/prove_invariance.lua refuses", function()
  local pipe = assert(io.popen(("%s scripts/prove_invariance.lua %s --compositions 2 outliers=1.5 2>&1; echo status=$?"):format(program, golden)))
  local text = pipe:read "*a"
  pipe:close()
  t.ok(text:find "not batch%-invariant" and text:find "status=2", text)
end)

t.test("wrong thresholds, other arithmetic", function()
  t.raises_table(function() load { outliers = 0 } end, "above 0")
  t.raises_table(function() load { outliers = 6, compute = "f32" } end, "int8")
  t.raises_table(function() pl.load(t.golden "llama-gqa", { tokenizer = false, outliers = 6 }) end, "quantize")
end)

t.test("a cache of one mode is not taken by another", function()
  local path = os.tmpname()
  local m = load { outliers = 1.5 }
  local cache = m:cache()
  m:forward({ ids }, { cache = cache })
  cache:save(path)
  t.raises_table(function() pl.cache_load(path, load {}) end, "outliers=1.5")
  os.remove(path)
end)
