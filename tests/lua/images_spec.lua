-- Pictures: every kind of PNG and JPEG as Pillow reads it, resizing to the bit, preprocessing, hostile
-- files; and models of pictures from files to answers.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"
local folder_of = require "folder_of"

local folder = "tests/images"
local expected = pl.open(folder .. "/expected.safetensors")

-- The largest difference between two u8 tensors of one shape.
local function apart(a, b)
  t.equal(a:size "height", b.shape[1].size)
  t.equal(a:size "width", b.shape[2].size)
  local names = { [b.shape[1].name] = "height", [b.shape[2].name] = "width", [b.shape[3].name] = "channel" }
  return (a:to "f32" - b:rename(names):to "f32"):abs():max()
end

for _, name in ipairs(expected.names) do
  local filter, height, width = name:match "^resize%.(%w+)%.(%d+)x(%d+)$"
  if filter then
    t.test(name .. ": to the bit as Pillow", function()
      local image = pl.image(folder .. "/rgb.png")
      t.equal(apart(pl.resize_image(image, { height = tonumber(height), width = tonumber(width), filter = filter }), expected.tensor(name)), 0)
    end)
  else
    t.test(name .. " as Pillow reads it", function()
      local image = pl.image(folder .. "/" .. name)
      t.equal(image.dtype, "u8")
      local most = name == "cmyk.jpg" and 1 or name:find "jpg" and 2 or 0   -- versions of libjpeg round differently
      t.ok(apart(image, expected.tensor(name)) <= most, tostring(apart(image, expected.tensor(name))))
      local bytes = core.read_file(folder .. "/" .. name)
      t.ok(pl.image(bytes):equal(image), "the same of its bytes")
    end)
  end
end

t.test("files that are cut off, damaged or of other kinds are errors that name them", function()
  for _, name in ipairs { "rgb.png", "palette.png", "interlaced.png", "rgb.jpg", "progressive.jpg", "cmyk.jpg", "orientation6.jpg" } do
    local bytes = core.read_file(folder .. "/" .. name)
    for _, kept in ipairs { 9, 20, 40, math.floor(#bytes / 2), #bytes - 30 } do
      local path = folder_of.files { ["cut.png"] = bytes:sub(1, kept) } .. "/cut.png"
      t.raises_text(function() pl.image(path) end, "image: ", "cut.png")
    end
    local seed = 1
    for _ = 1, 60 do   -- whatever it gives, it is a picture or an error
      local changed = {}
      for i = 1, #bytes do
        seed = (seed * 1103515245 + 12345) % 2 ^ 31
        changed[i] = seed % 97 == 0 and string.char(seed % 251) or bytes:sub(i, i)
      end
      pl.try(pl.image, bytes:sub(1, 8) .. table.concat(changed, "", 9))
    end
  end
  t.raises_text(function() pl.image(folder_of.files { ["a.png"] = "GIF89a" } .. "/a.png") end, "neither a PNG nor a JPEG")
  t.raises_text(function() pl.image(folder_of.files { ["a.png"] = "" } .. "/a.png") end, "empty")
  t.raises_text(function() pl.image "no/such.png" end, "no/such.png")
  t.raises_text(function() pl.image(7) end, "expected the path")
end)

t.test("a file that claims a huge picture takes no memory", function()
  local bytes = core.read_file(folder .. "/rgb.png")
  local huge = bytes:sub(1, 16) .. "\0\0\255\0\0\0\255\0" .. bytes:sub(25)
  t.raises_text(function() pl.image(huge) end, "image: ")
end)

t.test("sizes and filters are checked", function()
  local image = pl.image(folder .. "/rgb.png")
  t.raises_text(function() pl.resize_image(image, { height = 3 }) end, "width")
  t.raises_text(function() pl.resize_image(image, { height = 3, width = 3, filter = "cubic" }) end, "bicubic")
  t.raises_text(function() pl.resize_image(image, { height = 70000, width = 3 }) end, "too large")
  t.raises_text(function() pl.resize_image(pl.zeros { 2, 2, 3 }, { height = 3, width = 3 }) end, "u8 [height, width, channel=3]")
end)

-- ---------------------------------------------------------------- models

local clip = "tests/golden/clip-plain"
local picture = clip .. "/picture.png"
local values = pl.open(clip .. "/expected.safetensors")

local function close(got, wanted, most, what)
  local reference = require "perilune.compare.reference"
  local difference = reference.difference(reference.flatten(got), reference.flatten(wanted))
  t.ok(difference <= most, ("%s: %g"):format(what, difference))
end

local function quiet(f)
  pl.on_warning(function() end)
  local m = f()
  return m
end

local m = quiet(function() return pl.load(clip, { compute = "f32", device = "cpu" }) end)
local texts = { "but I wanted", "people there. It did not worry" }

t.test("CLIP: towers, projections and what fits what, as published", function()
  close(m:embed(texts), values.tensor "text_embeds", 1e-4, "texts")
  local pixels = values.tensor "pixel_values"
  close(m:embed { pixels = pixels }, values.tensor "image_embeds", 1e-4, "pictures")
  local out = m:forward { text = texts, pixels = pixels }
  close(out.logits_per_image, values.tensor "logits_per_image", 1e-4, "logits")
  t.equal(tostring(out.logits_per_image.shape), "[image=2, text=2]")
  t.equal(tostring(out.logits_per_text.shape), "[text=2, image=2]")
  t.ok(m:eager():forward { text = texts, pixels = pixels }.logits_per_image:equal(out.logits_per_image), "line by line")
  t.equal(m:embed("but I wanted"):tolist(), m:embed(texts):tolist()[1])
  t.equal(tostring(m:embed({}).shape), "[batch=0, hidden=24]")
end)

t.test("a picture alone has the bits that it has among others", function()
  local list = { { image = picture }, { image = folder .. "/rgb.jpg" }, { image = folder .. "/alpha.png" } }
  local all = m:embed(list):tolist()
  for i, one in ipairs(list) do t.equal(m:embed(one):tolist(), all[i]) end
  t.equal(m:embed { image = { picture, folder .. "/rgb.jpg" } }:tolist()[2], all[2])
  local p = pl.pipeline("image-feature-extraction", m)
  local answers = p { picture, folder .. "/rgb.jpg", folder .. "/alpha.png", "no/such.png" }
  for i = 1, 3 do t.equal(answers[i]:tolist(), all[i]) end
  t.ok(answers[4].error:find("no/such.png", 1, true))
end)

t.test("files, bytes, tensors and prepared pixels are one picture", function()
  local wanted = m:embed { image = picture }:tolist()
  t.equal(tostring(m:embed { image = picture }.shape), "[hidden=24]")
  t.equal(m:embed { image = core.read_file(picture) }:tolist(), wanted)
  t.equal(m:embed { image = pl.image(picture) }:tolist(), wanted)
  close(pl.image(picture), values.tensor "image_rgb_48x64", 0, "the file")
  t.raises_text(function() m:embed { image = 7 } end, "file's path")
  t.raises_text(function() m:embed { image = picture, pixels = values.tensor "pixel_values" } end, "contradict")
  t.raises_text(function() m:forward { pixels = pl.zeros({ 3, 16, 32 }, { axes = { "channel", "height", "width" } }) } end, "height=16", "height=32")
  t.raises_text(function() m:trace({ text = "a", image = picture }, "image.layers.0") end, "together")
  t.raises_text(function() m:forward { imag = picture } end, 'image')
end)

t.test("answers about pictures are [batch, patch, …]; a batch's are ragged and its rows can be told", function()
  local out = m:forward({ pixels = values.tensor "pixel_values" }, { outputs = { "hidden_states", "last_hidden_state", "pooled" } })
  t.equal(tostring(out.last_hidden_state.shape), "[batch=2, patch=17, hidden=60]")
  t.equal(#out.hidden_states, 3)
  t.equal(tostring(out.hidden_states[1].shape), "[batch=2, patch=17, hidden=60]")
  local ragged = m:forward(pl.batch(nil, { inputs = { pixels = values.tensor "pixel_values" } }))
  t.equal(tostring(ragged.last_hidden_state.shape), "[patch=34, hidden=60]")
  local rows = ragged.batch:split(ragged.last_hidden_state)
  t.equal(rows[2]:tolist(), out.last_hidden_state:at { batch = 2 }:tolist())
  t.equal(ragged.batch:first(ragged.last_hidden_state):tolist()[2], rows[2]:at { patch = 1 }:tolist())
  close(m:embed({ pixels = values.tensor "pixel_values" }, { pooling = "mean", normalize = false }), out.last_hidden_state:mean "patch", 1e-6, "mean")
end)

t.test("attention over patches is a picture", function()
  local path = "image.layers.1.attention.weights"
  local tr = m:trace({ image = picture }, { path, "image.layers.*" })
  t.equal(tostring(tr[path].shape), "[batch=1, head=4, query=17, key=17]")
  local seen = tr:patches(path)
  t.equal(tostring(seen.shape), "[batch=1, row=4, column=4]")
  local w = tr[path]:tolist()[1]
  local sum = 0
  for head = 1, 4 do sum = sum + w[head][1][1 + 6] end   -- the class token looks at row 2, column 2
  t.ok(math.abs(sum / 4 - seen:tolist()[1][2][2]) < 1e-6)
  t.ok(math.abs(tr:patches(path, { head = 2, query = 3 }):tolist()[1][4][4] - w[2][3][17]) < 1e-6)
  t.equal(tostring(tr["image.layers.0"].shape), "[batch=1, patch=17, hidden=60]")
  t.raises_text(function() tr:patches "image.layers.0" end, "not attention")
  t.raises_text(function() m:trace({ image = picture }, "text.layers.0") end, "text.layers.0")
  t.ok(m:trace("but", "text.layers.0")["text.layers.0"])
end)

t.test("hooks and quantization reach the vision tower", function()
  local before = m:embed { image = picture }
  local hook = m:hook("image.layers.0.mlp", function(x) return x * 0 end)
  local without = m:embed { image = picture }
  hook:remove()
  t.ok((before - without):abs():max() > 1e-3)
  t.ok(m:embed { image = picture }:equal(before))
  local q = m:quantize "int8"
  t.ok((q:embed { image = picture } * before):sum() > 0.99)
  t.ok((q:embed { image = picture } - before):abs():max() > 0)
end)

t.test("zero-shot-image-classification", function()
  local p = pl.pipeline("zero-shot-image-classification", m, { candidate_labels = texts, hypothesis_template = "{}" })
  local answer = p(picture)
  local logits = m:forward { text = texts, image = picture }.logits_per_image
  local scores = logits:softmax("text"):tolist()[1]
  for i, label in ipairs(answer.labels) do t.ok(math.abs(answer.scores[i] - scores[label == texts[1] and 1 or 2]) < 1e-5) end
  t.ok(answer.scores[1] >= answer.scores[2])
  t.equal(p { image = picture, candidate_labels = "a" }.labels, { "a" })
  t.raises_text(function() pl.pipeline("zero-shot-image-classification", m)(picture) end, "candidate_labels")
  t.raises_text(function() pl.pipeline("zero-shot-image-classification", "tests/golden/bert-base") end, "CLIP")
  local many = p { picture, folder .. "/rgb.png", picture }
  t.equal(many[3].scores, many[1].scores)
end)

for _, name in ipairs { "vit-sequence", "vit-base" } do
  t.test(name .. ": as published, alone, in a batch, line by line", function()
    local stored, v = pl.open(t.golden(name) .. "/expected.safetensors"), pl.load(t.golden(name), { compute = "f32", device = "cpu" })
    t.equal(v.warnings, {})
    local pixels = stored.tensor "pixel_values"
    local out = v:forward { pixels = pixels }
    if out.logits then close(out.logits, stored.tensor "logits", 1e-3, "logits") end
    if out.pooled then
      close(out.pooled, stored.tensor "pooler_output", 1e-3, "pooled")
      close(out.last_hidden_state, stored.tensor "last_hidden_state", 1e-3, "last")
    end
    local key = out.logits and "logits" or "pooled"
    t.ok(v:eager():forward { pixels = pixels }[key]:detach():equal(out[key]:detach()))
    local names = pixels.shape
    for i = 1, 3 do
      t.equal(v:forward { pixels = pixels:at { [names[1].name] = i } }[key]:tolist()[1], out[key]:tolist()[i])
    end
    t.raises_text(function() v:forward "a text" end, "reads pictures")
    t.equal(v.vocab_size, 0)
  end)
end

for _, name in ipairs { "clip-classes", "siglip-classes" } do   -- pictures of 20 pixels, patches of 6 and 5
  t.test(name .. ": a vision tower alone has its classes, as published", function()
    local stored, v = pl.open(t.golden(name) .. "/expected.safetensors"), pl.load(t.golden(name), { compute = "f32", device = "cpu" })
    t.equal({ v.head, v.vocab_size, v.warnings[1] }, { "sequence", 0 })
    close(v:forward({ pixels = stored.tensor "pixel_values" }).logits, stored.tensor "pixel_logits", 1e-3, "logits")
    t.equal(#pl.pipeline("image-classification", v)(folder .. "/rgb.png"), 4)
  end)
end

t.test("SigLIP: towers, the query over patches and what fits what, as published", function()
  local g = pl.load(t.golden "siglip-plain", { compute = "f32", device = "cpu", tokenizer = false })
  local stored, case = pl.open(t.golden "siglip-plain" .. "/expected.safetensors"), core.read_json(t.golden "siglip-plain" .. "/expected.json")
  local input = { ids = case.ids, pixels = stored.tensor "pixel_values" }
  local out = g:forward(input)
  for _, name in ipairs { "text_embeds", "image_embeds", "logits_per_image" } do close(out[name], stored.tensor(name), 1e-4, name) end
  t.ok(g:eager():forward(input).logits_per_image:equal(out.logits_per_image))
  t.equal(tostring(g:trace({ pixels = stored.tensor "pixel_values" }, "image.layers.0.attention.weights")["image.layers.0.attention.weights"].shape),
    "[batch=2, head=5, query=16, key=16]")
end)

t.test("image-classification", function()
  local p = pl.pipeline("image-classification", "tests/golden/vit-sequence", { top_k = 3 })
  local stored = pl.open "tests/golden/vit-sequence/expected.safetensors"
  local image = stored.tensor "image_rgb_19x29"
  local axes = image.shape
  image = image:rename { [axes[1].name] = "height", [axes[2].name] = "width", [axes[3].name] = "channel" }
  local answer = p(image)
  t.equal(#answer, 3)
  local sum = 0
  for _, one in ipairs(pl.pipeline("image-classification", p.model)(image)) do sum = sum + one.score end
  t.ok(math.abs(sum - 1) < 1e-6)
  local logits = p.model:forward { image = image }.logits:softmax("class"):tolist()[1]
  t.ok(math.abs(answer[1].score - math.max(unpack(logits))) < 1e-6)
  t.raises_text(function() pl.pipeline("image-classification", m) end, "sequence")
end)

t.test("preprocessor_config.json: what it says is done, what is not understood is refused", function()
  local base = "tests/golden/vit-sequence"
  local function prepared(old, new)
    local path = folder_of.copy(base, { ["preprocessor_config.json"] = folder_of.changed(base .. "/preprocessor_config.json", old, new) })
    local v = pl.load(path, { device = "cpu" })
    return v:forward({ image = folder .. "/rgb.png" }).logits
  end
  t.ok(prepared('"resample": 2', '"resample": 3'))
  t.raises_text(function() prepared('"resample": 2', '"resample": 9') end, "resample", "9")
  t.raises_text(function() prepared('"do_resize": true', '"do_resize": "yes"') end, "do_resize", "true or false")
  t.raises_text(function() prepared('"do_resize": true', '"do_resize": false') end, "height=18")
  t.raises_text(function() prepared('"do_resize": true', '"crop_pct": 0.9') end, "crop_pct")
  t.raises_text(function() prepared('"height": 18', '"height": 0') end, "size.height")
  t.raises_text(function() prepared('"height": 18', '"height": 30') end, "height=18")
  local cropped = '"do_center_crop": true, "crop_size": { "height": 18, "width": 18 }, "height_": 1, "do_resize": true'
  t.ok(prepared('"do_resize": true', cropped))
end)
