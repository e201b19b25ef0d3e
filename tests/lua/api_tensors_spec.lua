-- Tensors, to the letter of the Lua surface: what tensor_spec does not ask.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"

local nan, inf = 0 / 0, math.huge

local function grid() return pl.tensor({ { 1, 2, 3 }, { 4, 5, 6 } }, { axes = { "batch", "hidden" } }) end
local function named(sizes, axes) return pl.ones(sizes, { axes = axes }) end

t.test("lists that are not lists raise instead of losing numbers", function()
  t.raises_text(function() local _ = pl.zeros { batch = 2, hidden = 3 } end, "zeros:", "sizes", "axes")
  t.raises_text(function() local _ = pl.tensor { a = 1 } end, "tensor:", '"a"')
  t.raises_text(function() local _ = pl.tensor { 1, 2, x = 3 } end, "tensor:", '"x"')
  t.raises_text(function() local _ = pl.tensor { 1, nil, 3 } end, "tensor:", "2")
  t.raises_text(function() local _ = pl.batch { { 1, nil, 3 } } end, "batch:", "row 1")
  t.equal(pl.zeros({}):item(), 0)
  t.equal(pl.zeros(3):tolist(), { 0, 0, 0 })
end)

t.test("shapes: a list of { name, size }, sizes by name", function()
  local shape = grid().shape
  t.equal(#shape, 2)
  t.equal({ shape[1].name, shape[1].size, shape[3] }, { "batch", 2, nil })
  local seen = {}
  for i, axis in ipairs(shape) do seen[i] = axis.name .. "=" .. axis.size end
  t.equal(seen, { "batch=2", "hidden=3" })
  t.raises_text(function() return shape.hiden, 1 end, "hiden", "hidden")
  t.raises_text(function() grid():size "hiden" end, "hidden")
  t.raises_text(function() grid():size(1) end, "got 1")
end)

t.test("gather counts from 1 and from the end; ids are ids", function()
  local x = grid()
  t.equal(x:gather("hidden", { 3, 1 }):tolist(), { { 3, 1 }, { 6, 4 } })
  t.equal(x:gather({ 3, 1 }, "hidden"):tolist(), { { 3, 1 }, { 6, 4 } })
  t.equal(x:gather("hidden", { -1, -3 }):tolist(), { { 3, 1 }, { 6, 4 } })
  t.equal(x:gather("hidden", pl.tensor({ 1, 3 }, { dtype = "i32", axes = { "k" } })):tolist(), { { 1, 3 }, { 4, 6 } })
  local logits = pl.tensor({ 5, 9, 7 }, { axes = { "vocab" } })
  t.equal(logits:gather("vocab", { 0, 2 }):tolist(), { 5, 7 })
  t.raises_text(function() x:gather("hidden", { 0 }) end, "gather:", "hidden", "0")
  t.raises_text(function() x:gather("hidden", { -4 }) end, "gather:", "hidden", "-4")
  t.raises_text(function() logits:gather("vocab", { -1 }) end, "gather:", "vocab", "-1")
  t.raises_text(function() logits:gather("vocab", { 3 }) end, "gather:", "vocab", "3")
end)

t.test("argmax, argmin, topk and sort on id axes give ids", function()
  local x = pl.tensor({ { 5, 9, 7 }, { 8, 1, 2 } }, { axes = { "batch", "class" } })
  t.equal(x:argmax("class"):tolist(), { 1, 0 })
  t.equal(x:argmin("class"):tolist(), { 0, 1 })
  t.equal(x:argmax("batch"):tolist(), { 2, 1, 1 })
  local values, ids = x:topk(2, "class")
  t.equal({ values:tolist(), ids:tolist() }, { { { 9, 7 }, { 8, 2 } }, { { 1, 2 }, { 0, 2 } } })
  local _, from = x:sort("class", { descending = true })
  t.equal(from:tolist(), { { 1, 2, 0 }, { 0, 2, 1 } })
  t.equal(x:at({ class = 0 }):tolist(), { 5, 8 })
  t.equal(x:at({ class = 2, batch = -1 }):item(), 2)
  t.raises_text(function() x:at { class = 3 } end, "class")
  local y = x:copy()
  y:set(0, { class = 0, batch = 1 })
  t.equal(y:tolist(), { { 0, 9, 7 }, { 8, 1, 2 } })
  y:set({ 3, 4 }, { class = { 1, 2 }, batch = 2 })
  t.equal(y:tolist()[2], { 8, 3, 4 })
  t.raises_text(function() y:set(0, { class = -1 }) end, "ids count from 0")
  t.raises_text(function() y:set(0, { class = { 0, 3 } }) end, "class", "3")
end)

t.test("pl.where and mask:where", function()
  local x = grid()
  t.equal(pl.where(x:gt(3), x, 0):tolist(), { { 0, 0, 0 }, { 4, 5, 6 } })
  t.equal(x:gt(3):where(1, -1):tolist(), { { -1, -1, -1 }, { 1, 1, 1 } })
  t.raises_text(function() x:where(1, 0) end, "bool")
  t.raises_text(function() pl.where(1, x, x) end, "where:")
end)

t.test("numbers that are none do not confuse", function()
  local y = pl.tensor { 3, nan, 1 }
  t.equal({ y:argmax(), y:argmin() }, { 1, 3 })   -- of the numbers
  t.ok(y:max() ~= y:max() and y:sum() ~= y:sum())
  local sorted, from = y:sort()
  t.equal({ sorted:tolist()[1], from:tolist() }, { 1, { 3, 1, 2 } })
  t.ok(pl.tensor({ nan }):close(pl.tensor { nan }))
  t.equal({ y:stats().nan, y:stats().max }, { 1, 3 })
  t.equal(pl.tensor({ nan, inf, -1.7, 1e20 }):to("i32"):tolist()[3], -1)
  for _, call in ipairs {
    function() y:at { axis1 = nan } end, function() y:at { axis1 = "1" } end, function() y:at { axis1 = 1.5 } end,
    function() y:at { axis1 = 2 ^ 60 } end, function() y:at { axis1 = { 1, nil } } end, function() y:topk(-1, "axis1") end,
    function() y:topk(nan, "axis1") end, function() pl.arange(nan) end, function() pl.arange(inf) end, function() pl.arange(1, 3, 0) end,
    function() pl.zeros { nan } end, function() pl.zeros { "2" } end, function() pl.zeros { 1.5 } end, function() pl.random({ 2 }, { low = nan }) end,
    function() pl.random({ 2 }, { low = 2, high = 1 }) end, function() pl.random({ 2 }, { seed = 0.5 }) end,
    function() y:to() end, function() y:to "float32" end, function() pl.zeros({ 2 }, { dtype = "float32" }) end,
    function() y:clamp("0", 1) end, function() y:clamp(nan, 1) end, function() y:set() end, function() y:set({ 1, 2 }) end,
    function() pl.tensor() end, function() pl.tensor "abc" end, function() y:softmax() end, function() y:item() end,
  } do
    local err = t.raises(call)
    t.equal(type(err), "table", tostring(err))
    t.ok(err.code and err.op and err.message and err.traceback, tostring(err))
  end
end)

t.test("what to() takes is told", function()
  t.raises_text(function() grid():to "float16" end, "float16", "f16", "cpu")
  t.raises_text(function() pl.tensor({ 1 }, { dtype = "f8" }) end, "f8", "f32, f16, bf16")
end)

t.test("empty tensors", function()
  local e = pl.tensor {}
  t.equal({ e:sum(), e:any(), e:all(), e:tolist() }, { 0, false, true, {} })
  for _, name in ipairs { "max", "min", "mean", "argmax" } do t.raises_text(function() e[name](e) end, name .. ":", "empty") end
  t.equal(pl.cat({ pl.zeros({ 0, 2 }, { axes = { "a", "b" } }), named({ 1, 2 }, { "a", "b" }) }, "a"):tolist(), { { 1, 1 } })
  t.equal(grid():topk(0, "hidden").shape.hidden, 0)
  e:hist()
  pl.tensor({ nan }):hist()
end)

t.test("arithmetic: other kinds of operands raise, dtypes meet", function()
  local x = grid()
  for _, bad in ipairs { "2", true, {}, function() end } do
    local err = t.raises(function() return x + bad, 1 end)
    t.equal({ err.code, err.op }, { "argument", "add" })
  end
  t.raises(function() return x + nil, 1 end, "nil")
  local whole = pl.tensor({ 3, 4 }, { dtype = "i32" })
  t.equal({ (whole + 1).dtype, (whole + 0.5).dtype, (whole / 2):tolist() }, { "i32", "f32", { 1.5, 2 } })
  t.equal((whole / 0):tolist(), { inf, inf })
  t.equal((x:gt(3)):sum(), 3)
  t.equal({ (x * 0):any(), x:any(), (x - 1):all() }, { false, true, false })
  t.equal({ x:gt(3):any("hidden"):tolist(), x:gt(3):all("batch"):tolist() }, { { false, true }, { false, false, false } })
  t.equal((named({ 2, 1 }, { "batch", "hidden" }) + x):tolist(), { { 2, 3, 4 }, { 5, 6, 7 } })
  t.equal({ x == x, x == x:copy(), x == 5, x ~= nil }, { true, false, false, true })
  if x then t.ok(true) end
end)

t.test("free, views, scopes", function()
  local y = grid()
  y:free()
  y:free()
  t.equal({ y.dtype, y.shape.hidden }, { "f32", 3 })
  for _, call in ipairs { function() return y + 1, 1 end, function() y:tolist() end, function() y:sum() end, function() y:set(1) end,
    function() y:copy() end, function() y:equal(y) end, function() pl.cat({ y, y }, "batch") end, function() y:stats() end,
    function() y:to "f16" end, function() pl.save(os.tmpname(), { y = y }) end, function() y:topk(1, "hidden") end } do
    t.raises_text(call, "free")
  end
  local kept
  local out = pl.scope(function()
    kept = pl.keep(grid())
    return { x = grid() * 2, list = { grid() }, 7 }, grid(), nil, "text"
  end)
  t.equal({ out.x:sum(), out.list[1]:sum(), kept:sum(), out[1] }, { 42, 21, 21, 7 })
  local a, b, c, d = pl.scope(function(...) return ... end, 1, nil, 3)
  t.equal({ a, b, c, d }, { 1, nil, 3, nil })
  local inner
  t.raises_text(function() pl.scope(function() inner = grid() error "left" end) end, "left")
  t.raises_text(function() inner:sum() end, "free")
  local nested = pl.scope(function()
    local first = pl.scope(grid)
    return first:sum() + pl.scope(function() return grid():sum() end)
  end)
  t.equal(nested, 42)
  local m = pl.load(t.golden "llama-gqa")
  local result = pl.scope(function() return m:forward { { 1, 5, 6 } } end)
  t.equal(result.logits:size "vocab", 384)
  t.ok(result.logits:sum() == result.logits:sum())
  local trace = pl.scope(function() return m:trace({ { 1, 5, 6 } }, { "layers.*" }) end)
  for _, tensor in trace:each() do t.ok(tensor:abs():sum() > 0) end
end)

t.test("joins and shapes: mistakes name what is wrong", function()
  local x = grid()
  t.raises_text(function() pl.stack({ x, x }, "hidden") end, "hidden")
  t.raises_text(function() pl.stack({}, "n") end, "empty")
  t.raises_text(function() pl.cat({ x, x:to "f16" }, "hidden") end, "dtype")
  t.equal(pl.cat({ x, x:order("hidden", "batch") }, "hidden"):at({ batch = 1 }):tolist(), { 1, 2, 3, 1, 2, 3 })
  t.raises_text(function() x:rename { foo = "bar" } end, "foo")
  t.raises_text(function() x:rename { batch = "hidden" } end, "hidden")
  t.equal(tostring(x:rename({ batch = "hidden", hidden = "batch" }).shape), "[hidden=2, batch=3]")
  t.raises_text(function() x:split_axis("hidden", { "a", "b" }, { a = 2, b = 2 }) end, "hidden=3", "a=2")
  t.raises_text(function() x:split_axis("hidden", { "a", "b" }) end, "size")
  t.raises_text(function() named({ 2, 3, 4 }, { "a", "b", "c" }):merge({ "a", "c" }, "d") end, "neighbours", "order")
  t.raises_text(function() x:expand("hidden", 5) end, "hidden", "3")
  t.raises_text(function() pl.stack({ named({ 3 }, { "token" }), named({ 2 }, { "token" }) }, "batch") end, "row 2", "3", "2",
    "pl.batch(rows):padded", "pl.clamp_to_shortest", "ragged")
  local heads = named({ 2, 3, 4 }, { "head", "query", "head_dim" }):matmul(named({ 2, 5, 4 }, { "head", "key", "head_dim" }), { over = "head_dim" })
  t.equal(tostring(heads.shape), "[head=2, query=3, key=5]")
end)

t.test("files: names and tensors, by function, by field and in a loop", function()
  local path = os.tmpname()
  t.equal(pl.save(path, { ["layers.0.weight"] = grid(), other = pl.tensor({ 1, 2 }, { dtype = "i64" }) }), nil)
  local file = pl.open(path)
  t.equal(#file.names, 2)
  t.equal(file.tensor("layers.0.weight"):tolist(), grid():tolist())
  t.equal(file:tensor("other"):tolist(), { 1, 2 })
  t.equal(file["layers.0.weight"]:sum(), 21)
  t.equal(file.tensors.other.dtype, "i64")
  local count = 0
  for name, tensor in pairs(file.tensors) do
    count = count + 1
    t.ok(type(name) == "string" and tensor:sum() > 0)
  end
  t.equal(count, 2)
  t.raises_text(function() return file.oter, 1 end, "oter", "other")
  os.remove(path)
  t.raises_text(function() pl.open(7) end, "open")
  t.raises_text(function() pl.open "missing.gguf" end, "missing.gguf")
  t.raises_text(function() pl.save(path, { grid() }) end, "save:")
  t.raises_text(function() pl.save(path, { a = 5 }) end, "save:", "a")
  t.raises_text(function() pl.save(path) end, "save:")
end)

t.test("userdata are no tables, and say so", function()
  local x = grid()
  t.raises_text(function() return #x, 1 end, "size(axis)")
  t.raises_text(function() return x[1], 1 end, "at{")
  t.raises_text(function() x.foo = 1 end, "foo")
  t.raises_text(function() return x.sum(), 1 end, "colon")
  t.raises_text(function() return x.sum "hidden", 1 end, "colon")
  t.raises_text(function() return x.shap, 1 end, "shap", "shape")
  t.equal(getmetatable(x).__gc, nil)
  t.equal(getmetatable(x).__index, nil)
  t.raises(function() setmetatable(x, {}) end)
end)

t.test("printing: show and hist give the tensor back, plot writes a picture", function()
  local x, printed = grid(), {}
  local real = print
  rawset(_G, "print", function(text) printed[#printed + 1] = text end)
  local fine, err = pcall(function()
    t.equal(x:show(), x)
    t.equal(x:hist { bins = 3 }, x)
  end)
  rawset(_G, "print", real)
  t.ok(fine, tostring(err))
  t.equal(#printed, 4)
  local path = os.tmpname() .. ".svg"
  t.equal(x:plot(path), x)
  t.ok(core.read_file(path):find("<svg", 1, true))
  os.remove(path)
  pl.tensor({ 1, nan, 3, inf }):plot(path)
  os.remove(path)
  t.raises_text(function() x:plot() end, "plot")
  t.raises_text(function() x:plot "/no/such/folder/x.svg" end, "/no/such/folder/x.svg")
  t.raises_text(function() pl.zeros({ 2, 2, 2 }):plot(path) end, "plot:", "axes")
end)
