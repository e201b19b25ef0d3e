-- m:to: a model on the emulator (or the device that PERILUNE_TEST_DEVICE names) and back, with all that was said when
-- it was loaded and all that was done to its weights.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"

local prompt = { 1, 7, 12, 9, 30, 4 }
local batch = pl.batch { prompt }
local greedy = { max_new_tokens = 8, do_sample = false, eos_token_id = {} }

local function load(o) return pl.load(t.golden "llama-gqa", t.with({ device = "cpu", compute = "f32", tokenizer = false }, o or {})) end

-- Logits of all positions.
local function logits(m) return m:forward(batch, { rows = "all" }).logits end

-- The largest difference, as a share of the spread.
local function off(a, b)
  a, b = logits(a), logits(b)
  return (a - b):abs():max() / (a:max() - a:min())
end

local function expect_alike(a, b)
  local difference = off(a, b)
  t.ok(difference <= 1e-5, ("differs by %g of the spread"):format(difference))
  t.equal(b:generate(prompt, greedy).ids, a:generate(prompt, greedy).ids)
end

t.test("the device where it is: the model itself", function()
  local m = load()
  t.ok(rawequal(m:to "cpu", m))
  local mapped = load { device_map = { ["*"] = "cpu" } }
  t.ok(rawequal(mapped:to "cpu", mapped))
end)

for _, case in ipairs {
  { "a near miss", "cpx", "option", 'there is no device "cpx"', 'did you mean "cpu"?' },
  { "no text", 3, "argument", "expected the name of a device, got 3", "pl.devices()" },
  { "nothing", nil, "argument", "expected the name of a device, got nil", "pl.devices()" },
} do
  local what, device, code, text, hint = case[1], case[2], case[3], case[4], case[5]
  t.test("an unknown device: " .. what, function()
    local m = load()
    local _, err = pl.try(m.to, m, device)
    t.equal(err and err.code, code)
    t.ok(tostring(err):find(text, 1, true) and tostring(err):find(hint, 1, true), tostring(err))
    t.equal(#m:generate(prompt, greedy).ids, 8)
  end)
end

t.test("an unknown device is pl.load's error", function()
  local m = load()
  local errors = {}
  for i, call in ipairs { function() return m:to "cpx" end, function() return load { device = "cpx" } end } do
    local _, err = pl.try(call)
    errors[i] = { err.code, err.op, err.hint, (err.message:gsub("; in [^;]*", "")) }
  end
  t.equal(errors[1], errors[2])
end)

t.test("a closed model goes nowhere", function()
  local m = load()
  m:close()
  local _, err = pl.try(m.to, m, "cpu")
  t.equal(err and err.code, "state")
end)

local there, reason = pl.try(core.device, os.getenv "PERILUNE_TEST_DEVICE" or "emulator")

local function test_there(name, fn)
  t.test(name, function()
    if not there then t.skip("device: " .. tostring(reason)) end
    fn()
  end)
end

test_there("there and back: the same tokens, and logits as near as the devices are", function()
  local m = load()
  local moved = m:to(there)
  t.equal({ m.device, moved.device, moved:memory().by_device.cpu == nil }, { "cpu", there, true })
  expect_alike(m, moved)
  local back = moved:to "cpu"
  t.equal(back.device, "cpu")
  t.ok(not rawequal(back, m))
  t.ok(logits(back):equal(logits(m)), "the bits of the CPU")
  t.equal(back:generate(prompt, greedy).ids, m:generate(prompt, greedy).ids)
end)

test_there("either lives without the other", function()
  local m = load()
  local moved = m:to(there)
  local ids = m:generate(prompt, greedy).ids
  m:close()
  t.equal(moved:generate(prompt, greedy).ids, ids)
  local back = moved:to "cpu"
  moved:close()
  t.equal(back:generate(prompt, greedy).ids, ids)
end)

test_there("options go along", function()
  local moved = load({ compute = "bf16", cache = "f16", threads = 1 }):to(there)
  t.equal({ moved.compute, moved.cache_dtype, moved.threads, moved.head }, { "bf16", "f16", 1, "causal" })
  local with = pl.load("scripts/models/tales", { device = "cpu" })
  local tales = with:to(there)
  t.ok(rawequal(tales.tokenizer, with.tokenizer))
  local loaded = pl.load("scripts/models/tales", { device = there })
  t.equal({ tales.compute, tales.cache_dtype }, { loaded.compute, loaded.cache_dtype })
  local headless = load { head = "base" }
  t.equal(headless:to(there).head, "base")
end)

test_there("a quantized model stays quantized", function()
  for _, m in ipairs { load { quantize = "int4" }, load():quantize "int4" } do
    local moved = m:to(there)
    t.equal(moved.quantization, m.quantization)
    t.equal(moved:weight "layers.0.mlp.up_proj":equal(m:weight "layers.0.mlp.up_proj"), true)
    t.ok(not moved:weight "layers.0.mlp.up_proj":equal(load():weight "layers.0.mlp.up_proj"))
    t.equal(moved:to("cpu"):memory().weights, m:memory().weights)
    expect_alike(m, moved)
  end
end)

test_there("weights that were set go along, and are each model's own from then on", function()
  local m = load()
  m:set_weight("norm", m:weight "norm" * 2)
  local moved = m:to(there)
  expect_alike(m, moved)
  t.ok(off(load(), moved) > 0.1, "the norm is the file's")
  moved:set_weight("norm", moved:weight "norm" * 0.5)
  expect_alike(load(), moved)
  t.ok(off(m, moved) > 0.1, "a weight set there is set here")
end)

test_there("hooks stay behind", function()
  local m = load()
  m:hook("layers.0", function(x) return x * 0 end)
  local moved = m:to(there)
  expect_alike(load(), moved)
end)

test_there("an eager model stays eager", function()
  expect_alike(load(), load():eager():to(there))
  t.equal(rawget(load():eager():to(there), "eager_"), true)
end)

test_there("a model that is spread is whole afterwards", function()
  local m = load { device_map = { ["layers.0"] = "cpu", ["*"] = there } }
  for _, device in ipairs { "cpu", there } do
    local moved = m:to(device)
    t.equal(moved.device, device)
    for path, place in pairs(moved.device_map) do t.equal({ path, place }, { path, device }) end
    expect_alike(load(), moved)
  end
end)

test_there("keys and values in whole numbers stay on the CPU", function()
  local m = load { cache = "int8" }
  local _, err = pl.try(m.to, m, there)
  t.equal(err and err.code, "unsupported")
  t.ok(tostring(err):find('cache="int8" is for the CPU', 1, true), tostring(err))
end)
