---@meta
-- What the engine itself gives: declarations for the reference, for ?name and for editors. Never run.
local pl = {}

--- A tensor from nested lists; rows that differ in length raise.
---
---     local t = pl.tensor({ { 1, 2, 3 }, { 4, 5, 6 } }, { axes = { "batch", "hidden" } })
---     print(t.shape, t:at { batch = 2, hidden = -1 }:item())                --> [batch=2, hidden=3]	6
---@param data table|number
---@param opts table|nil { dtype="f32", axes={ "batch", "hidden" } }
---@return Tensor
function pl.tensor(data, opts) end

--- Zeros.
---
---     print(pl.zeros({ 2, 3 }, { axes = { "batch", "hidden" }, dtype = "i32" }).bytes)   --> 24
---@param sizes integer[]
---@param opts table { dtype="f32", axes= }
---@return Tensor
function pl.zeros(sizes, opts) end

--- Ones.
---
---     print(pl.ones({ 4 }, { axes = { "n" } }):sum())                       --> 4
---@param sizes integer[]
---@param opts table { dtype="f32", axes= }
---@return Tensor
function pl.ones(sizes, opts) end

--- Whole numbers in order.
---
---     print(table.concat(pl.arange(1, 4):tolist(), " "))                    --> 1 2 3 4
---@param ... any first, last, and { dtype=, axes= }
---@return Tensor
function pl.arange(...) end

--- Random numbers: a hash of the seed and each element's place.
---
---     local t = pl.random({ 2, 3 }, { seed = 7, low = -1, high = 1, axes = { "batch", "hidden" } })
---     print(t:equal(pl.random({ 2, 3 }, { seed = 7, low = -1, high = 1, axes = { "batch", "hidden" } })))   --> true
---@param sizes integer[]
---@param opts table { seed=0, low=0, high=1 (numbers from low up to high), dtype="f32", axes= }
---@return Tensor
function pl.random(sizes, opts) end

--- Tensors end to end along an axis they have; every other axis must agree.
---
---     local a = pl.ones({ 2, 3 }, { axes = { "batch", "hidden" } })
---     print(pl.cat({ a, a }, "batch").shape)                                --> [batch=4, hidden=3]
---@param list Tensor[]
---@param axis string
---@return Tensor
function pl.cat(list, axis) end

--- Tensors of one shape along a new axis.
---
---     local a = pl.ones({ 3 }, { axes = { "hidden" } })
---     print(pl.stack({ a, a }, "batch").shape)                              --> [batch=2, hidden=3]
---@param list Tensor[]
---@param axis string
---@return Tensor
function pl.stack(list, axis) end

--- Cuts all tensors to the shortest along an axis, and says what each lost.
---
---     local a, b = pl.ones({ 3 }, { axes = { "n" } }), pl.ones({ 5 }, { axes = { "n" } })
---     local list, lost = pl.clamp_to_shortest({ a, b }, "n")
---     print(list[2].shape, lost[2])                                         --> [n=3]	2
---@param list Tensor[]
---@param axis string
---@return Tensor[]
---@return integer[] lost
function pl.clamp_to_shortest(list, axis) end

--- Makes all tensors as long as the longest along an axis, or as `to`, and says how much each got.
---
---     local rows, added = pl.pad({ pl.ones { 1 }, pl.ones { 3 } }, "axis1")
---     print(rows[1]:size "axis1", added[1])                                 --> 3	2
---@param list Tensor[]
---@param axis string
---@param opts table|nil { to=n, side="right"|"left", value=0 }
---@return Tensor[]
---@return integer[] added
function pl.pad(list, axis, opts) end

--- Rows of ids as a batch: ragged, nothing padded. `inputs` gives named inputs beside them, or alone: one
--- tensor a row, whose first axis is ragged, too ({ features = { [frame, mel], … } }; the published [mel, frame] is
--- turned); of pictures { pixels = { [channel, height, width], … } } or all as [batch, channel, height, width].
---
---     local b = pl.batch { { 5, 6, 7 }, { 8 } }
---     print(b.size, b.tokens)                                               --> 2	4
---@param rows integer[][]|Tensor[]|nil
---@param opts table|nil { pairs= (second parts, of type 1), inputs=, positions=, type_ids=, labels=, rows="last"|"all"|lists }
---@return Batch
function pl.batch(rows, opts) end

--- A padded pair as a batch; a mask with a hole raises with its row.
---
---     local b = pl.batch_from_padded({ { 5, 6 }, { 8, 0 } }, { { 1, 1 }, { 1, 0 } })
---     print(table.concat(b.lengths, " "))                                   --> 2 1
---@param ids Tensor|integer[][] [batch, seq]
---@param mask Tensor|integer[][] [batch, seq], 0 or 1
---@return Batch
function pl.batch_from_padded(ids, mask) end

--- Monotonic wall time in seconds.
---
---     local start = pl.clock()
---     print(pl.clock() >= start)                                            --> true
---@return number
function pl.clock() end

--- Waits. Ctrl-C ends the wait, and so does a host that cancels.
---
---     local start = pl.clock()
---     pl.sleep(0.01)
---     print(pl.clock() - start >= 0.01)                                     --> true
---@param seconds number 0 or more
function pl.sleep(seconds) end

--- Who is told of warnings; nil for nobody.
---
---     local told = {}
---     pl.on_warning(function(text) told[#told + 1] = text end)
---     pl.on_warning(nil)
---     print(#told)                                                          --> 0
---@param f fun(text: string, where: string)|nil
function pl.on_warning(f) end

return pl
