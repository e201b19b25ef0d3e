-- Ragged batches and their padded views.
local pl = require "perilune"
local t = require "spec"

local function three() return pl.batch { { 11, 12, 13 }, { 21 }, { 31, 32 } } end

t.test("rows lie end to end", function()
  local b = three()
  t.equal({ b.size, b.tokens }, { 3, 6 })
  t.equal(b.ids:tolist(), { 11, 12, 13, 21, 31, 32 })
  t.equal(b.positions:tolist(), { 0, 1, 2, 0, 0, 1 })
  t.equal({ b.lengths, b.row_starts, b.lost, b.windows }, { { 3, 1, 2 }, { 1, 4, 5 }, { 0, 0, 0 }, { 1, 2, 3 } })
  t.equal({ b:row(1).ids, b:row(-1).ids, b:row(2).length }, { { 11, 12, 13 }, { 31, 32 }, 1 })
  local seen = {}
  for i, row in b:rows() do seen[i] = row.ids end
  t.equal(seen, { { 11, 12, 13 }, { 21 }, { 31, 32 } })
  t.equal(b:row(2).tokens()[1].id, 21)
  t.raises_text(function() b:row(4) end, "row 4 is out of range (there are 3)")
end)

t.test("rows that are none", function()
  t.raises_text(function() pl.batch {} end, "batch")
  t.raises_text(function() pl.batch { { 1 }, {} } end, "row 2")
  t.raises_text(function() pl.batch { 1, 2 } end, "row 1", "{ { 1, 2, 3 } }")
  t.raises_text(function() pl.batch { { 1, "x" } } end, "row 1", '"x"')
  t.raises_text(function() pl.batch({ { 1 } }, { positons = {} }) end, "positions")
  t.raises_text(function() pl.batch({ { 1, 2 } }, { positions = { { 0 } } }) end, "1", "2")
  t.equal(pl.batch({ pl.tensor({ 1, 2 }, { dtype = "i32" }) }).ids:tolist(), { 1, 2 })
  t.raises_text(function() pl.batch { pl.tensor { 1.5 } } end, "whole numbers")
end)

t.test("selecting and joining", function()
  local b = three()
  t.equal(b:select({ 3, 1 }).ids:tolist(), { 31, 32, 11, 12, 13 })
  t.equal(b:select({ -1 }).lengths, { 2 })
  t.equal(b:concat(pl.batch { { 9 } }).lengths, { 3, 1, 2, 1 })
  t.raises_text(function() b:select { 4 } end, "4")
end)

t.test("padded views, both sides", function()
  local b = three()
  local left = b:padded { side = "left" }
  t.equal(left.ids:tolist(), { { 11, 12, 13 }, { 0, 0, 21 }, { 0, 31, 32 } })
  t.equal(left.mask:tolist(), { { 1, 1, 1 }, { 0, 0, 1 }, { 0, 1, 1 } })
  t.near(left.waste, 3 / 9, 1e-12)
  local right = b:padded { side = "right", multiple_of = 4, pad_id = 7 }
  t.equal(right.ids:tolist(), { { 11, 12, 13, 7 }, { 21, 7, 7, 7 }, { 31, 32, 7, 7 } })
  t.equal(tostring(b:padded({ side = "right", to = 5 }).ids.shape), "[batch=3, seq=5]")
  t.raises_text(function() b:padded { to = 2 } end, "row 1", "3", "2")
  t.raises_text(function() b:padded { side = "middle" } end, '"left", "right"')
  t.raises_text(function() b:padded { sid = "left" } end, "side")
  t.raises_text(function() b:padded { multiple_of = 0 } end, "multiple_of")
end)

t.test("padded pairs are packed, holes are refused with their row", function()
  local b = three()
  for _, side in ipairs { "left", "right" } do
    local view = b:padded { side = side, to = 6 }
    local back = pl.batch_from_padded(view.ids, view.mask)
    t.equal({ back.ids:tolist(), back.lengths }, { b.ids:tolist(), b.lengths })
    t.equal(pl.batch_from_padded(view.ids:tolist(), view.mask:tolist()).lengths, b.lengths)
  end
  t.equal(pl.batch_from_padded({ { 1, 2 } }, { { true, false } }).lengths, { 1 })
  t.raises_text(function() pl.batch_from_padded({ { 1, 2, 3 } }, { { 1, 0, 1 } }) end, "row 1", "hole")
  t.raises_text(function() pl.batch_from_padded({ { 1 }, { 2 } }, { { 1 }, { 0 } }) end, "row 2")
  t.raises_text(function() pl.batch_from_padded { { 1 } } end, "mask", "pl.batch(rows)")
  t.raises_text(function() pl.batch_from_padded({ { 1, 2 } }, { { 1 } }) end, "batch_from_padded")
  t.raises_text(function() pl.batch_from_padded({ { 1, 2 } }, { { 1, 5 } }) end, "5")
end)

t.test("ragged answers by row", function()
  local b = three()
  local m = pl.load(t.golden "llama-gqa", { compute = "f32" })
  local logits = m:forward(b, { rows = "all" }).logits
  local parts = b:split(logits)
  t.equal({ #parts, parts[1]:size "token", parts[2]:size "token" }, { 3, 3, 1 })
  local padded = b:pad(logits, { side = "left" })
  t.equal(tostring(padded.shape), "[batch=3, seq=3, vocab=384]")
  t.equal(padded:at({ batch = 2, seq = 1 }):abs():sum(), 0)
  t.ok(padded:at({ batch = 2, seq = 3 }):equal(parts[2]:at { token = 1 }))
  t.ok(b:last(logits):at({ batch = 3 }):equal(parts[3]:at { token = 2 }))
  t.ok(b:first(logits):at({ batch = 1 }):equal(parts[1]:at { token = 1 }))
  t.ok(b:mean(logits):at({ batch = 1 }):close(parts[1]:mean "token", 1e-6))
  t.raises_text(function() pl.batch({ { 1, 2 } }):split(logits) end, "split", "token")
  t.raises_text(function() b:mean(pl.zeros { 6 }) end, "mean")
end)

t.test("joined batches keep their inputs apart", function()
  local b = three()
  t.equal(b:concat(pl.batch { { 9 }, { 8 } }).windows, { 1, 2, 3, 4, 5 })
  t.equal(b:select({ 3 }):concat(b:select { 3 }).windows, { 3, 6 })
end)

t.test("printing shows rows", function()
  local text = tostring(three())
  t.ok(text:find("Batch of 3 rows, 6 tokens", 1, true) and text:find("2 (1) 21", 1, true), text)
  local m = pl.load(t.golden "llama-gqa")
  if m.tokenizer then
    t.ok(tostring(m.tokenizer:encode "hello"):find("Batch of 1 row", 1, true))
  end
end)

t.test("tokenizers: truncation keeps what was put in and says what was lost", function()
  local m = pl.load(t.golden "llama-gqa")
  local tok = m.tokenizer
  local text = "one two three four five six seven eight"
  local whole = tok:ids(text)
  local cut = tok:encode(text, { truncate = { to = 5 } })
  t.equal(cut.lengths, { 5 })
  t.equal(cut.lost, { #whole - 5 })
  t.equal(cut:row(1).ids[1], whole[1])
  local left = tok:encode(text, { truncate = { to = 5, side = "left" } })
  t.equal({ left:row(1).ids[1], left:row(1).ids[5] }, { whole[1], whole[#whole] })
  local windows = tok:encode({ "a", text }, { truncate = { to = 6, windows = true, stride = 2 } })
  t.equal({ windows.windows[1], windows.windows[2], windows.windows[windows.size] }, { 1, 2, 2 })
  local plain = tok:ids(text, { special = false })
  local joined = {}
  for i, row in windows:rows() do
    if i > 1 then
      for j = (i == 2 and 2 or 4), row.length do joined[#joined + 1] = row.ids[j] end
    end
  end
  t.equal(joined, plain)
  t.raises_text(function() tok:encode(text, { truncate = true }) end, "to what length")
  t.raises_text(function() tok:encode(text, { truncate = { too = 3 } }) end, "to")
  t.raises_text(function() tok:encode(text, { truncate = { to = 6, windows = true, stride = 5 } }) end, "stride")
  t.raises_text(function() tok:encode {} end, "empty list")
  t.raises_text(function() tok:encode(7) end, "got 7")
  t.equal(tok:decode(whole), text)
  t.equal(tok:decode({ whole, whole }), { text, text })
  local d, pieces = tok:decoder(), {}
  for _, id in ipairs(whole) do pieces[#pieces + 1] = d:push(id) end
  pieces[#pieces + 1] = d:flush()
  t.equal(table.concat(pieces), text)
  for _, token in ipairs(tok:tokens(text)) do
    if token.first then t.ok(token.last >= token.first and token.last <= #text) end
  end
  t.equal(tok:id(tok:piece(whole[2])), whole[2])
  t.equal(tok:id "no such piece at all", nil)
  t.raises_text(function() tok:piece(100000) end, "100000")
  t.raises_text(function() tok:decode { -1 } end, "-1")
end)

-- ---------------------------------------------------------------- collation

local function shape_of(x) return x.dtype .. tostring(x.shape) end

t.test("collate: ids, labels, floats and masks, as data collators do", function()
  local records = {
    { ids = { 5, 6, 7 }, labels = { 1, 2, 3 }, type_ids = { 0, 0, 1 }, score = 0.5, box = { { 1, 2 }, { 3, 4 } }, id = "left out" },
    { ids = { 8 }, labels = { 4 }, type_ids = { 1 }, score = 1, box = { { 5, 6 }, { 7, 8 } } },
  }
  local columns = { ids = "pad", labels = { pad = -100 }, type_ids = "pad", score = "stack", box = "stack" }
  local right = pl.collate(records, columns, { pad_id = 9, multiple_of = 4 })
  t.equal(right.ids:tolist(), { { 5, 6, 7, 9 }, { 8, 9, 9, 9 } })
  t.equal(right.mask:tolist(), { { 1, 1, 1, 0 }, { 1, 0, 0, 0 } })
  t.equal(right.labels:tolist(), { { 1, 2, 3, -100 }, { 4, -100, -100, -100 } })
  t.equal(right.type_ids:tolist(), { { 0, 0, 1, 0 }, { 1, 0, 0, 0 } })
  t.equal(right.score:tolist(), { 0.5, 1 })
  t.equal({ shape_of(right.ids), shape_of(right.score), shape_of(right.box) },
    { "i32[batch=2, seq=4]", "f32[batch=2]", "f32[batch=2, box=2, box_2=2]" })
  t.equal({ right.id, right.labels_mask, right.type_ids_mask }, {})
  local left = pl.collate(records, columns, { side = "left", to = 5 })
  t.equal(left.ids:tolist(), { { 0, 0, 5, 6, 7 }, { 0, 0, 0, 0, 8 } })
  t.equal(left.mask:tolist(), { { 0, 0, 1, 1, 1 }, { 0, 0, 0, 0, 1 } })
  t.equal(left.labels:tolist(), { { -100, -100, 1, 2, 3 }, { -100, -100, -100, -100, 4 } })
  t.equal(pl.batch_from_padded(left.ids, left.mask).lengths, { 3, 1 })
end)

t.test("collate: dtypes, tensors, columns of its own", function()
  local records = { { x = { 0.5 }, v = pl.tensor { 1, 2 }, n = 1, yes = true, ids = pl.tensor({ 1, 2 }, { dtype = "i32" }) },
    { x = { 1, 2.5 }, v = pl.tensor { 3, 4 }, n = 2, yes = false, ids = pl.tensor({ 3 }, { dtype = "i32" }) } }
  local out = pl.collate(records, { x = { pad = 0, dtype = "f32" }, v = "stack", n = { stack = true, dtype = "i64" }, yes = "stack", ids = "pad" })
  t.equal(out.x:tolist(), { { 0.5, 0 }, { 1, 2.5 } })
  t.equal(out.v:tolist(), { { 1, 2 }, { 3, 4 } })
  t.equal({ out.n.dtype, out.n:tolist(), out.yes.dtype, out.yes:tolist() }, { "i64", { 1, 2 }, "bool", { true, false } })
  t.equal(out.ids:tolist(), { { 1, 2 }, { 3, 0 } })
  t.equal(pl.collate({ { decoder_ids = { 1 } } }, { decoder_ids = "pad" }).decoder_ids_mask:tolist(), { { 1 } })
  local m = pl.load(t.golden "llama-gqa", { compute = "f32" })
  if m.tokenizer then
    local mine = pl.collate({ { ids = { 3, 4 } }, { ids = { 5 } } }, { ids = "pad" }, { tokenizer = m.tokenizer })
    t.equal(mine.mask:tolist(), { { 1, 1 }, { 0, 1 } })   -- the family's side
    local logits = m:forward({ ids = mine.ids, mask = mine.mask }, { rows = "last" }).logits
    t.ok(logits:at { batch = 2 }:equal(m:forward({ { 5 } }, { rows = "last" }).logits:at { batch = 1 }))
  end
end)

t.test("collate: what does not fit names the record", function()
  local cases = {
    { {}, { ids = "pad" }, false, "record" },
    { "text", { ids = "pad" }, nil, '"text"' },
    { { { ids = { 1 } } }, {}, false, "columns" },
    { { { ids = { 1 } }, 7 }, { ids = "pad" }, false, "record 2", "got 7" },
    { { { ids = { 1 } }, { idz = { 1 } } }, { ids = "pad" }, false, "record 2 has no ids", 'did you mean "idz"?' },
    { { { ids = { 1 } }, { ids = 5 } }, { ids = "pad" }, false, "record 2", "must be a list" },
    { { { ids = { 1 } }, { ids = { 1, "x" } } }, { ids = "pad" }, false, "record 2: ids[2]", '"x"' },
    { { { ids = { 1.5 } } }, { ids = "pad" }, false, "1.5 does not fit i32", "dtype" },
    { { { ids = { 2 ^ 40 } } }, { ids = "pad" }, false, "does not fit i32" },
    { { { ids = { 1, 2, 3 } } }, { ids = "pad" }, { to = 2 }, "record 1", "3", "to=2" },
    { { { s = 1 }, { s = { 1 } } }, { s = "stack" }, false, "record 2: s has 1 numbers, record 1 has one number" },
    { { { s = { 1, 2 } }, { s = { 1 } } }, { s = "stack" }, false, "record 2", "1 numbers", "2 numbers", "pad" },
    { { { s = { { 1, 2 }, { 1 } } } }, { s = "stack" }, false, "record 1", "lists of 2 and of 1" },
    { { { s = { 1, { 2 } } } }, { s = "stack" }, false, "record 1" },
    { { { s = "x" } }, { s = "stack" }, false, "record 1", '"x"' },
    { { { v = pl.tensor { 1 } }, { v = pl.tensor { 1, 2 } } }, { v = "stack" }, false, "record 2", "axis1=2", "axis1=1" },
    { { { ids = { 1 } } }, { ids = "padd" }, false, "column ids", '"padd"' },
    { { { ids = { 1 } } }, { ids = { pad = 0, dtpe = "f32" } }, false, "dtype" },
    { { { ids = { 1 } } }, { ids = { pad = 0, stack = true } }, false, "contradict" },
    { { { ids = { 1 } } }, { ids = "pad" }, { sid = "left" }, "side" },
    { { { ids = { 1 } } }, { ids = "pad" }, { to = "short" }, "longest" },
    { { { ids = { 1 } } }, { ids = "pad" }, { to = 2 ^ 31 - 1, multiple_of = 2 ^ 20 }, "too many" },
  }
  for i, case in ipairs(cases) do
    local err = t.raises(function() pl.collate(case[1], case[2], case[3] or nil) end, "^collate:")
    for k = 4, #case do
      t.ok(tostring(err):find(case[k], 1, true), ("case %d lacks %q: %s"):format(i, case[k], tostring(err)))
    end
  end
end)

-- ---------------------------------------------------------------- unequal rows

t.test("unequal rows where a box is needed: which differ, and three remedies", function()
  local remedies = { "pl.batch(rows):padded", "pl.clamp_to_shortest", "keep" }
  local rows = { { 1, 2, 3 }, { 1, 2 }, { 4, 5, 6 }, { 7 } }
  local tensors = {}
  for i, row in ipairs(rows) do tensors[i] = pl.tensor(row, { axes = { "token" } }) end
  local long = {}
  for i = 1, 40 do long[i] = i == 1 and { 1, 2 } or { 1 } end
  t.raises_text(function() pl.tensor(rows) end, "row 1 has 3, row 2 has 2, row 4 has 1", unpack(remedies))
  t.raises_text(function() pl.stack(rows, "batch") end, "stack:", "row 1 has 3, row 2 has 2, row 4 has 1", unpack(remedies))
  t.raises_text(function() pl.stack(tensors, "batch") end, "row 2 has token=2, row 1 has 3; row 4 differs too", unpack(remedies))
  t.raises_text(function() pl.tensor(long) end, "row 7 has 1, and 33 more differ")
  t.raises_text(function() pl.tensor { { { 1, 2 }, { 3, 4 } }, { { 5 }, { 6, 7 } } } end, "2 in the lists before, row 1 has 1")
  t.equal(tostring(pl.stack({ { 1, 2 }, { 3, 4 } }, "batch").shape), "[batch=2, axis2=2]")
end)
