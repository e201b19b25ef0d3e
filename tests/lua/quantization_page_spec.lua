-- docs/quantization.md says what the types are today.
local core = require "perilune.core"
local page = require "perilune.help.quantization_page"
local t = require "spec"

t.test("the page is what scripts/make_quantization.lua writes; only figures of machines are kept", function()
  local text = core.read_file "docs/quantization.md"
  local measured = page.measured(text)
  t.ok(measured, "the marks around what was measured are missing")
  t.ok(text == page.text(measured), "write it anew: perilune scripts/make_quantization.lua")
end)

t.test("every type of weights is on it", function()
  local text = page.table()
  for _, name in ipairs(require("perilune.loaded.weight_types").names()) do
    t.ok(name == "f32" or text:find("`" .. name .. "`", 1, true), name)
  end
end)
