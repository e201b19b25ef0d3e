-- Errors are values: tables with parts, which print and concatenate as their message, and after
-- which everything still works.
local pl = require "perilune"
local t = require "spec"

t.test("an error table has its parts", function()
  local value, err = pl.try(function()
    return pl.zeros({ 2 }, { axes = { "hidden" } }) + pl.zeros({ 3 }, { axes = { "hidden" } }), 1
  end)
  t.equal(value, nil)
  t.equal({ err.code, err.op, #err.shapes }, { "shape", "add", 2 })
  t.ok(err.where:find "error_spec.lua:%d+")
  t.ok(err.message:find("error_spec.lua", 1, true))
  t.ok(err.traceback:find "error_spec.lua")
  t.equal(tostring(err), err.message)
  t.equal("<" .. err .. ">", "<" .. err.message .. ">")
  t.ok(err.hint == nil or type(err.hint) == "string")
end)

t.test("pl.try gives values back", function()
  t.equal({ pl.try(function() return 1, 2 end) }, { 1, 2 })
  local value, err = pl.try(error, "plain", 0)
  t.equal({ value, err }, { nil, "plain" })
end)

t.test("unknown names raise with the nearest", function()
  t.raises_text(function() return pl.tenser, 1 end, "did you mean")
  t.raises_text(function() pl.zeros({ 2 }, { dtyp = "f32" }) end, 'unknown option "dtyp"', "dtype")
  t.raises_text(function() pl.zeros({ 2 }):softmx "x" end, "softmax")
  t.raises_text(function() return pl.zeros({ 2 }).dtyp, 1 end, "dtype")
  t.raises_text(function() return pl.batch({ { 1 } }).lenghts, 1 end, "lengths")
end)

t.test("a thousand failures leave nothing behind", function()
  local core = require "perilune.core"
  collectgarbage()
  collectgarbage()
  local before = core.memory().used
  local x = pl.zeros({ 100, 100 }, { axes = { "a", "b" } })
  for _ = 1, 1000 do
    pcall(function() return x + pl.zeros({ 50 }, { axes = { "b" } }) end)
    pcall(x.softmax, x, "c")
    pcall(pl.batch, { { 1 }, {} })
  end
  t.equal(x:sum(), 0)
  x = nil
  collectgarbage()
  collectgarbage()
  t.equal(core.memory().used, before, tostring(x))
end)

t.test("what was freed or closed says so", function()
  local x = pl.ones { 3 }
  local view = x:at { axis1 = { 1, 2 } }
  x:free()
  t.raises_text(function() x:sum() end, "free")
  t.raises_text(function() view:tolist() end, "free")
  local m = pl.load(t.golden "llama-gqa")
  m:close()
  t.raises_text(function() m:forward { 1, 2 } end, "closed")
end)

t.test("warnings reach the script", function()
  local seen
  pl.on_warning(function(text, where) seen = text .. "|" .. where end)
  require("perilune.core").warn("careful", "here")
  t.equal(seen, "careful|here")
  pl.on_warning(nil)
  t.raises_text(function() pl.on_warning(7) end, "got 7")
end)
