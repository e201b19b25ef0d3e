-- Models of sound and pictures looked into: hooks at every path, traces, line by line, quantized; and what a recording's
-- transcript makes of these.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"
local folder_of = require "folder_of"
local whisper_of = require "whisper_of"

pl.on_warning(function() end)
local cpu = { compute = "f32", device = "cpu" }

local function pixels(size, channels)
  return pl.random({ 2, channels or 3, size, size }, { seed = 2, low = -1, axes = { "batch", "channel", "height", "width" } })
end

local function sound()
  local list = {}
  for i = 1, 2 do list[i] = core.log_mel(pl.random({ 12000 }, { seed = i, low = -0.5, high = 0.5, axes = { "sample" } }), 80, 100) end
  return pl.batch(nil, { inputs = { features = list } })
end

-- name → what it is asked, with which options, and which output is looked at.
local models = {
  ["whisper-plain"] = { { sound(), { rows = "all", decoder = { { 3, 7, 250 }, { 3, 9 } } }, "logits" } },
  ["clip-plain"] = { { { pixels = pixels(32) }, {}, "pooled" }, { { { 5, 6, 7 }, { 8, 9 } }, {}, "pooled" } },
  ["siglip-plain"] = { { { pixels = pixels(16) }, {}, "pooled" }, { { { 5, 6, 7 }, { 8, 9 } }, {}, "pooled" } },
  ["vit-sequence"] = { { { pixels = pixels(18) }, {}, "logits" } },
  ["clip-classes"] = { { { pixels = pixels(20) }, {}, "logits" } },
}

for name, asked in pairs(models) do
  local m = pl.load(t.golden(name), cpu)
  for i, one in ipairs(asked) do
    local input, opts, key = unpack(one)
    local plain = m:forward(input, opts)[key]

    t.test(("%s, input %d: hooks that change nothing change no bit, others act, at every path"):format(name, i), function()
      local acted = 0
      for _, path in ipairs(m:paths()) do
        local factor, calls = nil, 0
        local hook = m:hook(path, function(x)
          calls = calls + 1
          return factor and x * factor
        end)
        t.ok(m:forward(input, opts)[key]:equal(plain), path .. " looked at")
        factor = 1
        t.ok(m:forward(input, opts)[key]:equal(plain), path .. " as it was")
        local before = calls
        factor = -3
        local changed = m:forward(input, opts)[key]
        if before > 0 then
          acted = acted + 1
          t.ok(not changed:equal(plain), path .. " changed")
        end
        t.ok(m:eager():forward(input, opts)[key]:equal(changed), path .. " changed, line by line")
        hook:remove()
      end
      t.ok(acted > 3, acted .. " paths")
      t.ok(m:forward(input, opts)[key]:equal(plain), "without hooks again")
    end)

    t.test(("%s, input %d: traces are what hooks see, line by line the same"):format(name, i), function()
      local seen, hooks = {}, {}
      for h, path in ipairs(m:paths()) do hooks[h] = m:hook(path, function(x) seen[path] = x:copy() end) end
      m:forward(input, opts)
      for _, hook in ipairs(hooks) do hook:remove() end
      local paths = {}
      for path in pairs(seen) do paths[#paths + 1] = path end
      local traced, eager = m:trace(input, paths, opts), m:eager():trace(input, paths, opts)
      for _, path in ipairs(paths) do
        t.equal(traced[path]:detach():sum(), eager[path]:detach():sum(), path)
        t.near(traced[path]:detach():sum(), seen[path]:detach():sum(), 1e-3 * math.max(1, math.abs(seen[path]:detach():sum())), path)
      end
    end)
  end

  t.test(name .. ": quantized", function()
    local input, opts, key = unpack(asked[1])
    local plain = m:forward(input, opts)[key]
    t.ok(m:quantize("f32", { compute = "f32" }):forward(input, opts)[key]:equal(plain), "as stored")
    for _, recipe in ipairs { "int8", "int8-weight", "q8_0" } do
      local small = m:quantize(recipe)
      local got = small:forward(input, opts)[key]
      t.ok(small:memory().weights < m:memory().weights, recipe .. " takes less")
      local off = got:max_difference(plain)
      t.ok(off > 0 and off < 0.25 * math.max(1, plain:abs():max()), ("%s: off by %g"):format(recipe, off))
      t.ok(small:eager():forward(input, opts)[key]:equal(got), recipe .. ", line by line")
      local folder = folder_of.files {}
      small:save(folder)
      t.ok(pl.load(folder, { device = "cpu", compute = small.compute }):forward(input, opts)[key]:equal(got), recipe .. ", saved")
      small:close()
    end
  end)
end

-- ---------------------------------------------------------------- a recording

local hears = pl.load(folder_of.copy(t.golden "whisper-plain", { ["tokenizer.json"] = whisper_of.tokenizer() }), cpu)
local recording = pl.random({ 40000 }, { seed = 3, low = -0.5, high = 0.5, axes = { "sample" } })

local function told(m, more)
  local o = { language = "en", temperature = 0, no_speech_threshold = 1 }
  for key, value in pairs(more or {}) do o[key] = value end
  local list = {}
  for i, s in ipairs(pl.pipeline("automatic-speech-recognition", m, o)(recording).segments) do
    list[i] = { s.from, s.to, s.text, s.logprob }
    for _, word in ipairs(s.words or {}) do list[i][#list[i] + 1] = word.from .. word.text end
  end
  return list
end

t.test("a transcript through hooks, line by line, and quantized", function()
  for _, more in ipairs { {}, { return_timestamps = "word" }, { num_beams = 2 }, { batch_size = 2 } } do
    local plain, calls = told(hears, more), { 0, 0 }
    t.ok(#plain > 0)
    local hooks = {}
    for i, path in ipairs { "encoder.layers.1", "decoder.layers.0.cross_attention" } do
      hooks[i] = hears:hook(path, function() calls[i] = calls[i] + 1 end)
    end
    t.equal(told(hears, more), plain)
    t.ok(calls[1] > 0 and calls[2] > calls[1], calls[1] .. " " .. calls[2] .. (": the encoder once a window, the decoder once a token"))
    for _, hook in ipairs(hooks) do hook:remove() end
    for _, path in ipairs { "encoder.layers.1", "decoder.layers.0.cross_attention", "encoder.embeddings" } do
      local hook = hears:hook(path, function(x) return x * -3 end)
      t.ok(pl.json.encode(told(hears, more)) ~= pl.json.encode(plain), path .. " acts")
      hook:remove()
    end
    t.equal(told(hears:eager(), more), plain, "line by line")
    t.equal(told(hears:quantize("f32", { compute = "f32" }), more), plain, "quantized as stored")
    local small = hears:quantize("int8")
    t.equal(told(small, more), told(small:eager(), more), "quantized, line by line")
  end
end)
