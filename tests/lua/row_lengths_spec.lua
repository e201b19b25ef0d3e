-- Passes that change how long rows are: convolutions, patches, entries put in front, sinusoids. Against
-- the formulas; alone, in any batch, line by line and on other devices alike.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"

local serial = 0

local function random(sizes, seed, axes) return pl.random(sizes, { seed = seed, low = -1, high = 1, axes = axes }) end

-- Loads a family of these parts from a folder of these weights.
local function load_family(parts, weights, opts)
  serial = serial + 1
  local name, architecture = "rows" .. serial, "Rows" .. serial .. "Model"
  local family = { name = name, model_types = { name }, architectures = { [architecture] = "base" },
    config = function()
      return { axes = { hidden = 4, vocab = 8, mel = 3, head = 2, kv_head = 2, head_dim = 2, channel = 2, height = 4, width = 6, wide = 6 } }
    end,
    heads = { base = function(_, x) return { last_hidden_state = x } end } }
  for key, value in pairs(parts) do family[key] = value end
  pl.family(family)
  local folder = os.tmpname()
  os.remove(folder)
  core.make_directory(folder, "test")
  pl.save(folder .. "/model.safetensors", weights)
  core.write_file(folder .. "/config.json", core.write_json { model_type = name, architectures = { architecture } })
  local settings = { compute = "f32", mmap = false, device = "cpu" }
  for key, value in pairs(opts or {}) do settings[key] = value end
  local fine, m = pcall(pl.load, folder, settings)
  os.execute(("rm -r '%s'"):format(folder))
  if not fine then error(m, 0) end
  return m
end

local function frames(counts, mel, seed)
  local rows = {}
  for i, count in ipairs(counts) do rows[i] = random({ count, mel or 3 }, seed + i, { "frame", "mel" }) end
  return rows
end

local function of_frames(rows) return pl.batch(nil, { inputs = { features = rows } }) end
local function of_pixels(pictures) return pl.batch(nil, { inputs = { pixels = pictures } }) end

-- out[t][o] = bias[o] + sum over in, width of x[t * stride + w - padding][in] * weight[o][in][w].
local function convolved(x, weight, bias, stride, padding)
  local out, length, width = {}, #x, #weight[1][1]
  for at = 0, math.floor((length + 2 * padding - width) / stride) do
    out[at + 1] = {}
    for o = 1, #weight do
      local sum = bias and bias[o] or 0
      for i = 1, #weight[o] do
        for w = 1, width do
          local frame = x[at * stride + w - padding]
          if frame then sum = sum + frame[i] * weight[o][i][w] end
        end
      end
      out[at + 1][o] = sum
    end
  end
  return out
end

local function near(got, wanted, what)
  t.equal(#got, #wanted, what)
  for i = 1, #wanted do
    if type(wanted[i]) == "table" then near(got[i], wanted[i], what)
    else t.ok(math.abs(got[i] - wanted[i]) < 1e-5, ("%s: %g, expected %g"):format(what, got[i], wanted[i])) end
  end
end

-- Forms of one convolution: width, stride, padding.
local forms = { { 3, 1, 1 }, { 3, 2, 1 }, { 1, 1, 0 }, { 4, 3, 0 }, { 5, 2, 4 } }

for _, form in ipairs(forms) do
  local width, stride, padding = unpack(form)
  t.test(("conv1d of width %d, stride %d, padding %d"):format(width, stride, padding), function()
    local weight, bias = random({ 4, 3, width }, 1), random({ 4 }, 2)
    local m = load_family({ encode = function(net, batch)
      return net:mark("embeddings", net:conv1d(batch.features, "conv", "hidden", { stride = stride, padding = padding, bias = true }))
    end }, { ["conv.weight"] = weight, ["conv.bias"] = bias })
    local rows = frames({ 9, 4, 4, 12, 4 }, 3, 10)
    local whole = m:forward(of_frames(rows)).last_hidden_state
    t.equal(whole.shape[1].name, "frame")
    local first = 1
    for i, row in ipairs(rows) do
      local wanted = convolved(row:tolist(), weight:tolist(), bias:tolist(), stride, padding)
      local alone = m:forward(of_frames { row }).last_hidden_state
      near(alone:tolist(), wanted, "row " .. i)
      local part = whole:at { frame = { first, first + #wanted - 1 } }
      t.ok(part:detach():equal(alone:detach()), "row " .. i .. " differs in a batch")
      first = first + #wanted
    end
    t.equal(whole:size "frame", first - 1)
    t.ok(m:eager():forward(of_frames(rows)).last_hidden_state:detach():equal(whole:detach()), "line by line")
  end)
end

local tower_weights = { ["conv1.weight"] = random({ 4, 3, 3 }, 1), ["conv1.bias"] = random({ 4 }, 2), ["conv2.weight"] = random({ 4, 4, 3 }, 3),
  ["start"] = random({ 4 }, 4) }
for i, name in ipairs { "q", "k", "v", "o" } do tower_weights[name .. ".weight"] = random({ 4, 4 }, i + 10) end

-- Two convolutions, an entry in front, positions, attention: an encoder of sound.
local tower = {
  encode = function(net, batch)
    local x = net:gelu(net:conv1d(batch.features, "conv1", "hidden", { padding = 1, bias = true }))
    x = net:gelu(net:conv1d(x, "conv2", "hidden", { stride = 2, padding = 1 }))
    x = net:prepend(x, "start")
    x = net:mark("embeddings", x + net:sinusoids(net:positions(x)))
    local layer = net:scope("", "layers.0")
    local q, k = layer:linear(x, "q", { "head", "head_dim" }), layer:linear(x, "k", { "kv_head", "head_dim" })
    local a = layer:attention(q, layer:uncached(k, layer:linear(x, "v", { "kv_head", "head_dim" })), { mask = "none" })
    return layer:mark(x + layer:linear(a, "o", "hidden", { over = { "head", "head_dim" } }))
  end,
}

t.test("a tower over rows of changed lengths: batches, eager runs, hooks and traces", function()
  local m = load_family(tower, tower_weights)
  local rows = frames({ 7, 2, 40, 40, 1 }, 3, 20)
  local whole = m:forward(of_frames(rows)).last_hidden_state
  t.equal(whole:size "frame", (4 + 1) + (1 + 1) + (20 + 1) + (20 + 1) + (1 + 1))
  local first = 1
  for i, row in ipairs(rows) do
    local alone = m:forward(of_frames { row }).last_hidden_state
    local count = alone:size "frame"
    t.ok(whole:at { frame = { first, first + count - 1 } }:detach():equal(alone:detach()), "row " .. i)
    first = first + count
  end
  t.ok(m:eager():forward(of_frames(rows)).last_hidden_state:detach():equal(whole:detach()), "line by line")
  local tr = m:trace(of_frames { rows[1] }, { "embeddings", "layers.0.attention.weights" })
  t.equal(tostring(tr["layers.0.attention.weights"].shape), "[frame=5, head=2, key=5]")
  for _, sum in ipairs(tr["layers.0.attention.weights"]:sum("key"):merge({ "frame", "head" }, "n"):tolist()) do
    t.ok(math.abs(sum - 1) < 1e-5)
  end
  local seen
  local hook = m:hook("layers.0", function(x)
    seen = tostring(x.shape)
    return x * 0
  end)
  t.equal(m:forward(of_frames { rows[1] }).last_hidden_state:abs():max(), 0)
  t.equal(seen, "[frame=5, hidden=4]")
  hook:remove()
  local published = rows[1]:order("mel", "frame")
  t.ok(m:forward(of_frames { published }).last_hidden_state:detach():equal(m:forward(of_frames { rows[1] }).last_hidden_state:detach()),
    "features as published, [mel, frame]")
end)

t.test("the same on another device", function()
  local device = os.getenv "PERILUNE_TEST_DEVICE" or "emulator"
  local there, reason = pl.try(core.device, device)
  if not there then t.skip("device " .. device .. ": " .. tostring(reason)) end
  local m = load_family(tower, tower_weights)
  local rows = frames({ 5, 9 }, 3, 30)
  local wanted = m:forward(of_frames(rows)).last_hidden_state:tolist()
  local other = load_family(tower, tower_weights, { device = device })
  local got = other:forward(of_frames(rows)).last_hidden_state
  near(got:tolist(), wanted, device)
  t.ok(other:eager():forward(of_frames(rows)).last_hidden_state:detach():equal(got:detach()), "line by line")
end)

t.test("sinusoids: Whisper's halves, and the original's pairs", function()
  local function table_of(opts)
    local m = load_family({ encode = function(net, batch)
      local x = net:embedding(batch.ids, "embed", { axis = "wide" })
      return x * 0 + net:sinusoids(batch.positions, opts)
    end }, { ["embed.weight"] = random({ 8, 6 }, 1) })
    return m:forward({ { 1, 2, 3 } }).last_hidden_state:tolist()
  end
  local halves, pairs_ = {}, {}
  for p = 0, 2 do
    halves[p + 1], pairs_[p + 1] = {}, {}
    for j = 0, 2 do
      local closed, open = p * 10000 ^ (-j / 2), p * 100 ^ (-j / 3)
      halves[p + 1][j + 1], halves[p + 1][j + 4] = math.sin(closed), math.cos(closed)
      pairs_[p + 1][2 * j + 1], pairs_[p + 1][2 * j + 2] = math.sin(open), math.cos(open)
    end
  end
  near(table_of { axis = "wide" }, halves, "halves")
  near(table_of { axis = "wide", style = "interleaved", endpoint = false, max_period = 100 }, pairs_, "pairs")
end)

t.test("patches: rows of a picture's squares, line by line; pictures do not meet", function()
  local weight, bias, start = random({ 4, 2, 2, 2 }, 1), random({ 4 }, 2), random({ 1, 1, 4 }, 3)
  local parts = { encode = function(net, batch)
    local x = net:patches(batch.pixels, "patch", "hidden", { size = 2, bias = true })
    return net:prepend(net:mark("embeddings", x), "start")
  end, heads = { base = function(net, x) return { last_hidden_state = x, pooled = net:select(x, "first") } end } }
  local m = load_family(parts, { ["patch.weight"] = weight, ["patch.bias"] = bias, start = start })
  local pictures = {}
  for i = 1, 3 do pictures[i] = random({ 2, 4, 6 }, 40 + i, { "channel", "height", "width" }) end
  local out = m:forward(of_pixels(pictures))
  t.equal(tostring(out.last_hidden_state.shape), "[patch=21, hidden=4]")
  t.equal(tostring(out.pooled.shape), "[batch=3, hidden=4]")
  local w, b = weight:tolist(), bias:tolist()
  for i, picture in ipairs(pictures) do
    local x, wanted = picture:tolist(), { start:tolist()[1][1] }
    for row = 0, 1 do
      for column = 0, 2 do
        local entry = {}
        for o = 1, 4 do
          local sum = b[o]
          for c = 1, 2 do
            for y = 1, 2 do for z = 1, 2 do sum = sum + x[c][row * 2 + y][column * 2 + z] * w[o][c][y][z] end end
          end
          entry[o] = sum
        end
        wanted[#wanted + 1] = entry
      end
    end
    near(out.last_hidden_state:at { patch = { (i - 1) * 7 + 1, i * 7 } }:tolist(), wanted, "picture " .. i)
    t.ok(m:forward(of_pixels { picture }).last_hidden_state:detach()
      :equal(out.last_hidden_state:at { patch = { (i - 1) * 7 + 1, i * 7 } }:detach()), "alone")
  end
  local all = pl.stack(pictures, "batch")
  t.ok(m:forward(of_pixels(all)).last_hidden_state:detach():equal(out.last_hidden_state:detach()), "as one tensor")
  t.ok(m:eager():forward(of_pixels(pictures)).pooled:detach():equal(out.pooled:detach()), "line by line")
  local picked = of_pixels(pictures):select { 3, 1 }
  t.equal(m:forward(picked).pooled:tolist()[1], out.pooled:tolist()[3])
  t.equal(m:forward(of_pixels { pictures[1] }:concat(of_pixels { pictures[2] })).pooled:tolist()[2], out.pooled:tolist()[2])
end)

t.test("shapes that do not fit name their axes, at the family's line", function()
  local weights = { ["conv.weight"] = random({ 4, 3, 3 }, 1), ["flat.weight"] = random({ 4, 3 }, 2), ["patch.weight"] = random({ 4, 2, 3, 3 }, 3),
    ["thin.weight"] = random({ 4, 2, 3 }, 4), ["big.weight"] = random({ 4, 2, 5, 5 }, 6), start = random({ 5 }, 5) }
  local function fails(encode, ...)
    local words = { ... }
    local fine, err = pcall(function()
      local m = load_family({ encode = encode, unused = { "*" } }, weights)
      m:forward(of_frames(frames({ 2 }, 3, 50)))
    end)
    t.ok(not fine, "nothing was wrong")
    for _, word in ipairs(words) do t.ok(tostring(err):find(word, 1, true), ("%s lacks %q"):format(err, word)) end
  end
  fails(function(net, batch)
    local x = net:conv1d(batch.features, "thin", "hidden")   -- no tail call: the line is wanted
    return x
  end,
    "conv1d", "mel=3", '"thin" [4, 2, 3]', "(3 vs 2)", "row_lengths_spec.lua")
  fails(function(net, batch) return net:conv1d(batch.features, "flat", "hidden") end, "should have 3 axes, and has 2")
  fails(function(net, batch) return net:linear(batch.features, "conv", "hidden") end, "should have 2 axes, and has 3")
  fails(function(net, batch) return net:conv1d(batch.features, "conv", "wide") end, "wide=6", "(6 vs 4)")
  fails(function(net, batch) return net:conv1d(batch.features, "conv", "hidden", { stride = 0 }) end, "option stride", "got 0")
  fails(function(net, batch) return net:conv1d(batch.features, "conv", "hidden", { strides = 2 }) end, "strides", "stride")
  fails(function(net, batch) return net:conv1d(batch.features, "conv", "hidden") end, "row 1 has 2 frames", "window of 3")
  fails(function(net, batch) return net:prepend(net:conv1d(batch.features, "conv", "hidden", { padding = 1 }), "start") end,
    "prepend", "hidden=4", "(4 vs 5)")
  fails(function(net, batch) return net:patches(batch.pixels, "big", "hidden") end, "height=4 is less than size=5")
  fails(function(net, batch) return net:patches(batch.pixels, "patch", "hidden", { size = 2 }) end, "another size", "[4, 2, 3, 3]")
  fails(function(net, batch) return net:sinusoids(net:positions(batch.features), { axis = "mel" }) end, "even size", "mel=3")
  fails(function(net, batch) return net:sinusoids(batch.features, {}) end, "positions must be i32")
end)

t.test("what is left beside whole patches is in none", function()
  local m = load_family({ encode = function(net, batch) return net:patches(batch.pixels, "patch", "hidden") end },
    { ["patch.weight"] = random({ 4, 2, 4, 4 }, 3) })
  local picture = random({ 2, 4, 6 }, 1)   -- a patch, and two columns beside it
  local answer = m:forward(of_pixels { picture }).last_hidden_state
  t.equal(answer.shape.patch, 1)
  local other = picture:copy()
  other:set(7, { [other.shape[3].name] = { 5, 6 } })
  t.ok(m:forward(of_pixels { other }).last_hidden_state:detach():equal(answer:detach()))
  other:set(7, { [other.shape[3].name] = { 4, 4 } })
  t.ok(not m:forward(of_pixels { other }).last_hidden_state:detach():equal(answer:detach()))
end)

t.test("pixels of another size than the model's, or none", function()
  local m = load_family({ encode = function(net, batch) return net:patches(batch.pixels, "patch", "hidden") end },
    { ["patch.weight"] = random({ 4, 2, 2, 2 }, 1) })
  t.raises_text(function() m:forward(of_pixels { random({ 2, 4, 4 }, 1) }) end, "width=4", "width=6")
  t.raises_text(function() m:forward { { 1, 2 } } end, "pixels")
  t.raises_text(function() of_pixels { random({ 4, 4 }, 1) } end, "[batch, channel, height, width]")
end)
