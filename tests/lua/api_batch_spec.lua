-- Batches, to the letter of the Lua surface: what batch_spec does not ask.
local pl = require "perilune"
local t = require "spec"

local nan = 0 / 0
local function three(opts) return pl.batch({ { 11, 12, 13 }, { 21 }, { 31, 32 } }, opts) end
local m = pl.load("scripts/models/tales", { compute = "f32" })

t.test("fields: numbers, tensors, plain lists", function()
  local b = three()
  t.equal({ type(b.size), type(b.tokens), type(b.ids), b.ids.shape[1].name, b.ids.dtype }, { "number", "number", "userdata", "token", "i32" })
  for _, name in ipairs { "lengths", "row_starts", "lost", "windows" } do
    t.equal({ type(b[name]), #b[name] }, { "table", 3 }, name)
  end
  b.lengths[1] = 99
  t.equal(b.lengths[1], 3)
  local row = b:row(-2)
  t.equal({ row.ids, row.length, row.lost, type(row.tokens) }, { { 21 }, 1, 0, "function" })
  t.equal(row.tokens()[1].id, 21)
  t.equal(row:tokens()[1].id, 21)
  t.raises_text(function() return #b, 1 end, "b.size")
  t.raises_text(function() return b[1], 1 end, "Batch")
  t.raises_text(function() b.size = 3 end, "size")
  t.raises_text(function() return b.lenght, 1 end, "lengths")
end)

t.test("rows() is an iterator for `for`, twice, nested and in coroutines", function()
  local b, pairs_seen = three(), 0
  for i in b:rows() do for j, row in b:rows() do pairs_seen = pairs_seen + (row.length == b.lengths[j] and i or 0) end end
  t.equal(pairs_seen, 18)
  local walk = coroutine.wrap(function() for i, row in b:rows() do coroutine.yield(i, row.length) end end)
  t.equal({ walk() }, { 1, 3 })
  collectgarbage()
  t.equal({ walk() }, { 2, 1 })
end)

t.test("a batch's own rows are what forward answers", function()
  local ids = { { 1, 722, 723, 261 }, { 1, 501 } }
  local all = m:forward(ids, { rows = "all" }).logits
  local own = m:forward(pl.batch(ids, { rows = "all" })).logits
  t.equal(tostring(own.shape), "[token=6, vocab=2048]")
  t.ok(own:equal(all))
  local listed = m:forward(pl.batch(ids, { rows = { { 1, -1 }, { 2 } } })).logits
  t.equal(listed.shape.token, 3)
  t.ok(listed:at { token = 2 }:equal(all:at { token = 4 }))
  t.ok(listed:at { token = 3 }:equal(all:at { token = 6 }))
  t.equal(tostring(m:forward(pl.batch(ids, { rows = "last" })).logits.shape), "[batch=2, vocab=2048]")
  t.equal(m:forward(pl.batch(ids, { rows = "all" }), { rows = "last" }).logits.shape.batch, 2)
  t.raises_text(function() pl.batch(ids, { rows = "some" }) end, "rows", "some")
  t.raises_text(function() pl.batch(ids, { rows = 3 }) end, "rows")
  t.raises_text(function() pl.batch(ids, { rows = { { 1 }, { 3 } } }) end, "row 2", "3")
  t.raises_text(function() pl.batch(ids, { rows = { { 0 }, { 1 } } }) end, "row 1", "0")
end)

t.test("positions, type_ids and labels are the model's own numbers", function()
  local b = three { positions = { { 5, 6, 7 }, { 0 }, { 1, 1 } }, type_ids = { { 0, 1, 1 }, { 0 }, { 1, 0 } }, labels = { { 1, 2, 3 }, { 4 }, { -100, 5 } } }
  t.equal({ b.positions:tolist(), b.type_ids:tolist(), b.labels }, { { 5, 6, 7, 0, 1, 1 }, { 0, 1, 1, 0, 1, 0 }, { { 1, 2, 3 }, { 4 }, { -100, 5 } } })
  t.equal(three().labels, nil)
  local picked = b:select { 3, 1 }
  t.equal({ picked.positions:tolist(), picked.type_ids:tolist() }, { { 1, 1, 5, 6, 7 }, { 1, 0, 0, 1, 1 } })
  local view = b:padded { side = "right" }
  t.equal(view.type_ids:tolist(), { { 0, 1, 1 }, { 0, 0, 0 }, { 1, 0, 0 } })
  t.raises_text(function() three { labels = { { 1 } } } end, "labels")
  t.raises_text(function() three { type_ids = { { 0, 1, 1 }, { 0 }, { 1 } } } end, "type_ids")
  t.raises_text(function() three { positions = "first" } end, "positions")
  t.raises_text(function() three "padded" end, "options")
end)

t.test("pairs: second parts with type 1", function()
  local b = pl.batch({ { 2, 17, 3 }, { 2, 18, 3 } }, { pairs = { { 40, 3 }, { 41, 42, 3 } } })
  t.equal(b.ids:tolist(), { 2, 17, 3, 40, 3, 2, 18, 3, 41, 42, 3 })
  t.equal(b.type_ids:tolist(), { 0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 1 })
  t.equal(b.lengths, { 5, 6 })
  t.raises_text(function() pl.batch({ { 2 }, { 3 } }, { pairs = { { 1 } } }) end, "pairs", "1", "2")
end)

t.test("strange rows", function()
  for _, rows in ipairs {
    { { 1, nan } }, { { 1, 1.5 } }, { { 1, "2" } }, { { 2 ^ 40 } }, { { { 1 } } }, { "text" }, { { 1 }, 2 }, { {} }, {}, { ids = { 1 } },
  } do
    local err = t.raises(function() pl.batch(rows) end, "^batch:")
    t.equal(err.op, "batch")
  end
  t.raises_text(function() pl.batch() end, "batch")
  t.raises_text(function() pl.batch "text" end, "batch")
  t.raises_text(function() pl.batch { pl.tensor({ { 1, 2 } }, { dtype = "i32" }) } end, "row 1")
end)

t.test("padding: to what, and of what", function()
  local b = three()
  t.equal(b:padded({ to = "longest", side = "right" }).ids:tolist()[2], { 21, 0, 0 })
  t.equal(b:padded({ side = "left", multiple_of = 2, to = 3 }).ids:size "seq", 4)
  t.equal(b:padded({ side = "right" }).positions:tolist()[1], { 0, 1, 2 })
  t.equal(pl.batch({ { 1, 2 }, { 3, 4 } }):padded().waste, 0)
  for _, opts in ipairs { { to = "short" }, { to = 0 }, { to = 1.5 }, { to = nan }, { multiple_of = -2 }, { pad_id = "0" }, { side = 1 }, { pad = 1 } } do
    t.equal(t.raises(function() b:padded(opts) end).code, "option")
  end
  t.raises_text(function() b:padded "left" end, "options")
  t.equal(m.tokenizer:encode({ "The", "Once upon a time" }):padded({ pad_id = 9 }).ids:at({ batch = 1, seq = 1 }):item(), 9)
end)

t.test("select and concat: lists, orders, strangers", function()
  local b = three()
  t.equal(b:select({ 2, 2 }).ids:tolist(), { 21, 21 })
  for _, list in ipairs { {}, { 0 }, { -4 }, { 1.5 }, { "1" }, { nan } } do t.raises(function() b:select(list) end, "select") end
  t.raises_text(function() b:select() end, "select")
  t.raises_text(function() b:concat { { 1 } } end, "concat", "Batch")
  t.raises_text(function() b:row() end, "row")
  t.raises_text(function() b:row(0) end, "0")
  t.raises_text(function() b:row(nan) end, "row")
  t.equal(b:concat(b).size, 6)
  t.equal(b:concat(b):select({ -1 }).ids:tolist(), { 31, 32 })
end)

t.test("pad, split, mean, first, last want this batch's tokens", function()
  local b = three()
  local x = m:forward({ { 1, 5, 6 }, { 1 }, { 1, 7 } }, { rows = "all" })
  for _, name in ipairs { "pad", "split", "mean", "first", "last" } do
    t.raises(function() b[name](b) end, name)
    t.raises(function() b[name](b, 7) end, name)
    t.raises(function() b[name](b, x.logits) end, "token")                      -- another batch's
    t.raises(function() b[name](b, pl.zeros({ 3, 2 }, { axes = { "batch", "hidden" } })) end, "token")
  end
  t.equal(tostring(x.batch:pad(x.logits, { side = "right", to = 4 }).shape), "[batch=3, seq=4, vocab=2048]")
  t.equal(tostring(x.batch:mean(x.logits).shape), "[batch=3, vocab=2048]")
  t.equal(#x.batch:split(x.logits * 2), 3)                                      -- what was computed from it is its own still
end)

t.test("padded pairs: tensors, lists, booleans, and what is none", function()
  local ids = pl.tensor({ { 0, 1, 5 }, { 1, 5, 6 } }, { dtype = "i32", axes = { "batch", "seq" } })
  local mask = pl.tensor({ { 0, 1, 1 }, { 1, 1, 1 } }, { dtype = "i32", axes = { "batch", "seq" } })
  t.equal(pl.batch_from_padded(ids, mask).lengths, { 2, 3 })
  t.equal(pl.batch_from_padded(ids, mask:gt(0)).lengths, { 2, 3 })
  t.equal(pl.batch_from_padded(ids:to "i64", mask).lengths, { 2, 3 })
  t.equal(pl.batch_from_padded(ids, { { false, true, true }, { true, true, true } }).lengths, { 2, 3 })
  t.raises_text(function() pl.batch_from_padded(ids, pl.tensor { { 0, 1, 1 } }) end, "batch_from_padded")
  t.raises_text(function() pl.batch_from_padded(ids, { { 0, 1, 1 }, { 1, 0, 1 } }) end, "row 2", "hole")
  t.raises_text(function() pl.batch_from_padded(ids, { { 0, 0, 0 }, { 1, 1, 1 } }) end, "row 1")
  t.raises_text(function() pl.batch_from_padded("x", mask) end, "ids")
  t.raises_text(function() pl.batch_from_padded() end, "mask")
  local out = m:forward({ ids = ids, mask = mask:gt(0) }, { rows = "all" })
  t.equal(tostring(out.logits.shape), "[batch=2, seq=3, vocab=2048]")
  t.raises_text(function() m:forward { ids = ids, mask = { { 1, 0, 1 }, { 1, 1, 1 } } } end, "forward: ", "row 1", "hole")
  t.raises_text(function() m:forward { ids = ids, msk = mask } end, "mask")
end)

t.test("adding pieces to a tokenizer", function()
  local tok = pl.tokenizer "scripts/models/tales"
  local before, given = tok.max_id, { "<npc>", "<end>", special = true }
  t.equal(tok:add(given), { before + 1, before + 2 })
  t.equal({ given.special, tok:id "<npc>", tok:is_special(before + 2) }, { true, before + 1, true })
  t.raises_text(function() tok:add { "<x>", specail = true } end, "specail")
  t.raises_text(function() tok:add {} end, "add")
end)

t.test("printing shows pieces", function()
  local text = tostring(m.tokenizer:encode { "Once upon a time", "The" })
  t.ok(text:find("Batch of 2 rows", 1, true) and text:find("Once", 1, true), text)
  t.ok(#tostring(pl.batch { m.tokenizer:ids(("word "):rep(400)) }) < 4000)
end)
