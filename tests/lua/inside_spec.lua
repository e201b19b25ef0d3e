-- Looking inside a model from scripts: tables of a pass, the lens, maps of attention, patches, two runs side by side.
local pl = require "perilune"
local t = require "spec"

local m = pl.load("scripts/models/tales", { compute = "f32" })

t.test("activations: every op and every named tensor, as trace has them", function()
  local list = m:activations "Once upon"
  local by_path = {}
  for _, row in ipairs(list) do if row.op == "=" then by_path[row.path] = row end end
  local tr = m:trace("Once upon", "layers.*")
  for path, tensor in tr:each() do
    local stats = tensor:stats()
    t.equal(by_path[path].shape, tostring(tensor.shape))
    t.equal({ by_path[path].min, by_path[path].max }, { stats.min, stats.max })
  end
  for _, path in ipairs(m:paths()) do t.ok(by_path[path], path) end
  local text = tostring(list)
  t.ok(text:find("linear +layers%.0%.self_attn%.q_proj +f32%[token=3, head=8, head_dim=32%]"), text:sub(1, 900))
  t.ok(text:find("llama.lua:%d+"))
  t.raises_table(function() m:activations("x", { rowz = 1 }) end, "rowz")
end)

t.test("lens: the last layer says what the model says, and each layer what its residual gives", function()
  local text = "Once upon a"
  local l = m:lens(text, { top = 3 })
  t.equal(#l, 7)
  local logits = m:forward(text, { rows = "all" }).logits
  for position = 1, 4 do
    local best = l[7].tokens[position]
    t.equal(#best, 3)
    t.equal(best[1].id, logits:at({ token = position }):argmax "vocab":item())
  end
  local residual = m:trace(text, "layers.1")["layers.1"]
  local hook = m:hook("layers.5", function() return residual end)
  local wanted = m:forward(text, { rows = "all" }).logits:at({ token = 2 }):softmax "vocab"
  hook:remove()
  t.near(l[3].tokens[2][1].probability, wanted:max(), 1e-6)
  t.ok(tostring(l):find("layers.4", 1, true) and tostring(l):find("▁time", 1, true))
  t.raises_table(function() m:lens { "a", "b" } end, "one text")
  t.raises_table(function() pl.load("scripts/models/reviews"):lens "good" end, "head")
  t.equal(#m:hooks(), 0)
end)

t.test("attention: the weights of a head with the tokens on both axes", function()
  local map = m:attention("Once upon a", { layer = 2, head = 3 })
  local path = "layers.2.attention.weights"
  local wanted = m:trace("Once upon a", path)[path]:at { head = 3 }
  t.equal(map.weights:tolist(), wanted:tolist())
  t.equal(map.queries[2], "▁Once")
  t.ok(tostring(map):find("layer 2, head 3", 1, true))
  local mean = m:attention("Once upon a", { layer = 2 })
  t.near(mean.weights:sum(), 4, 1e-5)
  t.raises_table(function() m:attention("Once", { head = 9 }) end, "head", "8")
  t.raises_table(function() m:attention("Once", { layer = 77 }) end, "layers.77")
end)

t.test("every kind of model is looked into by what it reads: texts, sources, pictures, sounds", function()
  local t5 = pl.load "tests/golden/t5-relu-tied"
  local l = t5:lens { 5, 6, 7 }
  t.equal({ #l, l.pieces, #l[1].tokens }, { 4, { "<pad>" }, 1 }, "the decoder's own tokens")
  t.equal(t5:lens({ 5, 6, 7 }, { decoder = { { 0, 9, 8 } } }).ids, { 0, 9, 8 })
  t.equal(t5:attention({ 5, 6, 7 }, { layer = 1 }).weights:tolist(), t5:trace({ 5, 6, 7 }, "encoder.layers.1.attention.weights")
    ["encoder.layers.1.attention.weights"]:mean "head":tolist())
  t.raises_table(function() t5:attention({ 5, 6 }, { layer = 9 }) end, "encoder.layers go from 0 to 1")
  t.raises_table(function() t5:hook("layers.*.mlp", print) end, "encoder.layers.*.mlp")
  local clip = pl.load "tests/golden/clip-plain"
  local picture = { pixels = pl.random({ 1, 3, 32, 32 }, { seed = 1, axes = { "batch", "channel", "height", "width" } }) }
  t.equal(tostring(clip:attention(picture, { layer = 1, head = 2 }).weights.shape), "[query=17, key=17]")
  t.equal(clip:attention(picture).keys[17], "17")
  t.equal(#clip:attention({ 5, 6, 7 }).queries, 3)
  local whisper = pl.load "tests/golden/whisper-plain"
  local core = require "perilune.core"
  local features = core.log_mel(pl.random({ 12000 }, { seed = 2, axes = { "sample" } }), 80, 100)
  local sound = pl.batch(nil, { inputs = { features = { features } } })
  t.equal(whisper:forward(sound).batch.tokens, 1, "its start token, where nobody says")
  t.equal(#whisper:lens(sound, { decoder = { { 3, 7, 9 } } })[1].tokens, 3)
  t.equal(whisper:attention(sound, { layer = 1 }).weights:size "query", 50)
end)

t.test("patch: a cell is what the same patch by hand changes", function()
  local from, into = "Once upon a", "She was a"
  local p = m:patch { from = from, into = into, paths = { "layers.1", "layers.*.mlp" } }
  t.equal(tostring(p.effect.shape), "[layer=7, token=4]")
  local id = m:forward(from).logits:at({ batch = 1 }):argmax "vocab":item()
  t.equal(p.token, id)
  local donor = m:trace(from, "layers.1")["layers.1"]
  local hook = m:hook("layers.1", function(x) return x:copy():set(donor:at({ token = 3 }):detach(), { token = 3 }) end)
  local by_hand = m:forward(into).logits:softmax("vocab"):at({ batch = 1, vocab = id }):item()
  hook:remove()
  t.near(p.effect:at({ layer = 1, token = 3 }):item(), by_hand - p.before, 1e-6)
  local own = m:patch { from = from, into = from, paths = "layers.*" }
  t.near(own.effect:abs():max(), 0, 1e-6)
  local all = m:patch { from = from, into = into, paths = "layers.5", positions = { 4 }, token = id }
  t.near(all.effect:item(), p.wanted - p.before, 1e-5, "the last layer's last position is all that the head reads")
  t.ok(tostring(p):find("layers.0.mlp", 1, true))
  for _, case in ipairs { { { into = "x" }, "from" }, { { from = "Once upon", into = "She" }, "tokens" },
    { { from = from, into = into, paths = "layers.9" }, "layers.9" }, { { from = from, into = into, token = "many words" }, "token" } } do
    t.raises_table(function() m:patch(case[1]) end, case[2])
  end
  t.equal(#m:hooks(), 0)
end)

t.test("diff: where two runs part first", function()
  local same = pl.diff(m, m, { input = "Once upon" })
  t.equal(same.first, nil)
  t.ok(tostring(same):find "^equal in all of %d+ ops")
  local edited = pl.diff(m, { m, hooks = { ["layers.2.mlp"] = function(x) return x * 2 end } }, { input = "Once upon" })
  t.equal({ edited.first.path, edited.first.op }, { "layers.2.mlp", "mark" })
  t.ok(tostring(edited):find("they part first at tensor layers.2.mlp", 1, true))
  local small = m:quantize("int4", { compute = "f32" })
  local quantized = pl.diff(m, small, { input = "Once upon" })
  t.equal({ quantized.first.op, quantized.first.path }, { "linear", "layers.0.self_attn.q_proj" })
  t.equal(pl.diff(m, small, { input = "Once upon", tolerance = 1e9 }).first, nil)
  local other = pl.diff({ m, input = "Once upon" }, { model = m, input = "She was" })
  t.equal(other.first.path, "embed_tokens")
  local longer = pl.diff({ m, input = "Once upon" }, { m, input = "She" })
  t.ok(longer.first.problem:find("token=3", 1, true))
  for _, case in ipairs { { 1, m, "first run" }, { m, {}, "second run" }, { m, { m, hookz = {} }, "hookz" } } do
    t.raises_table(function() pl.diff(case[1], case[2], { input = "x" }) end, case[3])
  end
  t.raises_table(function() pl.diff(m, m) end, "no input")
  t.equal(#m:hooks(), 0)
end)

t.test("pictures of characters: a scale, labels, means of blocks that are said to be", function()
  local heat_map = require "perilune.show.heat_map"
  t.equal(heat_map.text({ { 0, 1 }, { 0.5, 0 / 0 } }, { colours = "ascii" }), "| @|\n|+!|\n0  .:-=+*#%@ 1")
  local rows = {}
  for i = 1, 100 do
    rows[i] = {}
    for j = 1, 300 do rows[i][j] = i + j end
  end
  t.ok(heat_map.text(rows, { colours = "ascii", width = 60, height = 10 }):find("each place is the mean of 10 x 6", 1, true))
  t.ok(heat_map.text({ { 1, 2 }, { 3, 4 } }, { colours = "24bit" }):find("38;2;%d+;%d+;%d+;48;2;%d+;%d+;%d+m▀"))
  t.ok(heat_map.text({ { 1, 2 } }, { colours = "256" }):find("38;5;%d+"))
  t.ok(heat_map.text({ { 1, 2 } }, { colours = "ascii", rows = { "a" }, columns = { "bc", "d" } }):find("^  b\n  c d\na   @@|"))
end)

t.test("the commands of a session are thin callers", function()
  local session = require("perilune.session.repl").new { interactive = false, read = function() end }
  local printed, svg = {}, os.tmpname() .. ".svg"
  local old = print
  rawset(_G, "print", function(...) printed[#printed + 1] = table.concat({ ... }, "\t") end)
  local fine, err = pcall(function()
    rawset(_G, "m_here", m)
    rawset(_G, "e_here", pl.engine(m, { max_rows = 1 }))
    for i = 1, 2 do rawget(_G, "e_here"):submit("Once", { max_new_tokens = 3 }) end
    m:forward "Once upon"
    for _, line in ipairs { ":shapes", ":lens", ":lens 'She was a'", ":attention 2 1", ":attention 1 'Once'", ":patch 'Once upon a', 'She was a'", ":patch { 1, 5, 6 }, { 1, 7, 6 }",
      ":diff m_here, m_here", ":graph " .. svg, ":queue", ":queue step", ":queue e_here policy shortest_first", ":queue policy function(q) return q end",
      ":queue run", ":queue timeline " .. svg, ":diff m_here, { m_here, hooks = { norm = function(x) return x * 2 end } }, 'Once'" } do
      session:line(line)
    end
  end)
  rawset(_G, "print", old)
  for _, name in ipairs { "m_here", "e_here", "pl", "_" } do rawset(_G, name, nil) end
  t.ok(fine, tostring(err))
  t.ok(pl.files.exists(svg))
  os.remove(svg)
  local all = table.concat(printed, "\n")
  for _, part in ipairs { "embed_tokens", "layers.5", "layer 2, head 1", "layer 1, head mean", "nearer", "equal in all", "2 waiting", "waits for the step's rows", "2 finished", "part first at tensor norm" } do
    t.ok(all:find(part, 1, true), part .. " in\n" .. all:sub(1, 2000))
  end
end)

t.test("a compiled pass as a graph: a box an op, a line for what it reads", function()
  local path = os.tmpname() .. ".svg"
  local program = m:program()
  program:graph(path)
  local text = require("perilune.core").read_file(path)
  os.remove(path)
  local _, boxes = text:gsub("<rect", "")
  t.equal(boxes, #program + 1)
  t.ok(text:find("layers.0.self_attn.o_proj", 1, true) and text:find("<path", 1, true))
  t.raises_table(function() program:graph() end, "file name")
end)
