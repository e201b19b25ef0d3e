-- Pictures of other sizes than a model's table of positions: interpolate_pos_encoding, as the published implementation
-- answers (tests/judges/interpolated.py).
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"
local folder_of = require "folder_of"

pl.on_warning(function() end)
local reference = require "perilune.compare.reference"
local expected = pl.open "tests/images/interpolated.safetensors"
local picture = "tests/golden/clip-plain/picture.png"

local function load(name, size) return pl.load("tests/golden/" .. name, { compute = "f32", device = "cpu", interpolate_pos_encoding = size }) end

local function answer(m, pixels)
  if m.head == "base" and m.family ~= "vit" then return m:embed { pixels = pixels } end
  local out = m:forward { pixels = pixels }
  return out.logits or out.last_hidden_state
end

for _, name in ipairs(expected.names) do
  local model, height, width = name:match "^pixels%.(.+)%.(%d+)x(%d+)$"
  if model then
    t.test(("%s reads pictures of %sx%s as published"):format(model, height, width), function()
      local m = load(model, { height = tonumber(height), width = tonumber(width) })
      local got = answer(m, expected.tensor(name))
      local wanted = expected.tensor((name:gsub("^pixels", "answer")))
      local apart = reference.difference(reference.flatten(got), reference.flatten(wanted))
      t.ok(apart <= 1e-4, ("%g apart"):format(apart))
    end)
  end
end

t.test("the model's own size changes no bit", function()
  local pixels = pl.random({ 2, 3, 32, 32 }, { seed = 4, low = -1, axes = { "batch", "channel", "height", "width" } })
  local plain = load("clip-plain")
  for _, size in ipairs { 32, { height = 32, width = 32 } } do t.ok(load("clip-plain", size):embed({ pixels = pixels }):equal(plain:embed { pixels = pixels })) end
  t.ok(load("clip-plain", false):embed({ pixels = pixels }):equal(plain:embed { pixels = pixels }))
end)

t.test("files are prepared at the size that is named", function()
  for _, name in ipairs { "clip-plain", "siglip-plain", "vit-base" } do
    local m = load(name, 40)
    t.equal(m:embed({ image = picture }).rank, 1)
    local shape = m:forward({ image = picture }).last_hidden_state.shape
    t.equal(shape.patch, ({ ["clip-plain"] = 26, ["siglip-plain"] = 100, ["vit-base"] = 37 })[name])
  end
  local wide = load("clip-plain", { height = 16, width = 40 })
  t.equal(wide:forward({ image = picture }).last_hidden_state.shape.patch, 11)
  local map = wide:trace({ image = picture }, "image.layers.0.attention.weights")
  t.ok(map)
end)

t.test("true is what preprocessor_config.json makes", function()
  local own = folder_of.copy("tests/golden/vit-base", {
    ["preprocessor_config.json"] = [[{"do_resize":true,"size":{"height":30,"width":42},"resample":2,"do_normalize":true,
      "image_mean":[0.5,0.5,0.5],"image_std":[0.5,0.5,0.5]}]] })
  local error_ = t.raises_text(function() pl.load(own, { compute = "f32" }):forward { image = picture } end, "height=18", "interpolate_pos_encoding")
  t.equal(error_.code, "shape")
  local m = pl.load(own, { compute = "f32", interpolate_pos_encoding = true })
  t.equal(m:forward({ image = picture }).last_hidden_state.shape.patch, 5 * 7 + 1)
  core.write_file(own .. "/preprocessor_config.json", [[{"size":{"shortest_edge":30}}]])
  t.raises_text(function() pl.load(own, { interpolate_pos_encoding = true }) end, "does not say one size", "height =")
end)

t.test("other models and values are refused", function()
  for _, case in ipairs {
    { "vit-base", 3, "holds no patch of 6" }, { "vit-base", { height = 40 }, "expected true, a number of pixels" },
    { "vit-base", 1.5, "expected" }, { "vit-base", 0, "expected" }, { "vit-base", 70000, "expected true" }, { "vit-base", "40", "interpolate_pos_encoding" },
    { "vit-base", { heigth = 40, width = 40 }, "height" }, { "llama-gqa", 40, "llama model has no table of positions" },
  } do t.equal(t.raises_text(function() load(case[1], case[2]) end, case[3]).code, "option") end
end)

t.test("what is saved is as stored, and read again at the size", function()
  local m, folder = load("vit-base", 42), folder_of.files {}
  m:save(folder .. "/saved")
  local pixels = pl.random({ 1, 3, 42, 42 }, { seed = 5, low = -1, axes = { "batch", "channel", "height", "width" } })
  local again = pl.load(folder .. "/saved", { compute = "f32", device = "cpu", interpolate_pos_encoding = 42 })
  t.ok(again:forward({ pixels = pixels }).last_hidden_state:equal(m:forward({ pixels = pixels }).last_hidden_state))
  local small = m:quantize("int8", { compute = "f32" })
  t.equal(small:forward({ pixels = pixels }).last_hidden_state.shape.patch, 50)
  t.raises_text(function() small:save(folder .. "/small") end, "save: ", "without the option")
  t.ok(m:to(m.device):forward({ pixels = pixels }).last_hidden_state:equal(m:forward({ pixels = pixels }).last_hidden_state))
end)
