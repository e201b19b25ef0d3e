---@meta
-- What the engine itself gives: declarations for the reference, for ?name and for editors. Never run.

---@class Tensor
---@field dtype string "f32" | "f16" | "bf16" | "i32" | "i64" | "u8" | "i8" | "bool"
---@field device string where its elements are
---@field bytes integer of its elements
---@field rank integer how many axes
---@field shape table list of { name=, size= }; shape.hidden → size of axis hidden
---@field traced boolean true while a pass is being written down
local Tensor = {}

--- Size of an axis. Asking for a ragged size while a pass is traced raises.
---
---     local t = pl.tensor({ { 1, -2 }, { 3, 4 } }, { axes = { "row", "col" } })
---     print(t:size "col")                                                   --> 2
---@param axis string
---@return integer
function Tensor:size(axis) end

--- A view at positions (from 1, negative from the end; ids on the axes vocab and class) or ranges { first, last }.
---
---     local t = pl.tensor({ { 1, 2, 3 }, { 4, 5, 6 } }, { axes = { "batch", "hidden" } })
---     print(t:at { batch = 2 }.shape, t:at { hidden = { 2, 3 } }.shape)     --> [hidden=3]	[batch=2, hidden=2]
---@param where table<string, integer|integer[]>
---@return Tensor
function Tensor:at(where) end

--- Writes a value or a tensor into the tensor, or into the part that `where` names. Weights and caches are read-only.
---
---     local t = pl.zeros({ 2, 3 }, { axes = { "batch", "hidden" } })
---     t:set(5, { batch = 1 })
---     print(t:sum())                                                        --> 15
---@param value number|boolean|Tensor
---@param where table<string, integer|integer[]>|nil
---@return Tensor self
function Tensor:set(value, where) end

--- The one element of a tensor that has one.
---
---     local t = pl.tensor({ { 1, -2 }, { 3, 4 } }, { axes = { "row", "col" } })
---     print(t:at { row = 2, col = 1 }:item())                               --> 3
---@return number|boolean
function Tensor:item() end

--- Nested lists of all elements.
---
---     local t = pl.tensor({ { 1, -2 }, { 3, 4 } }, { axes = { "row", "col" } })
---     print(t:tolist()[2][1])                                               --> 3
---@return table|number
function Tensor:tolist() end

--- On another device, or of another dtype.
---
---     local t = pl.tensor({ { 1, -2 }, { 3, 4 } }, { axes = { "row", "col" } })
---     print(t:to "bf16".dtype, t:to "cpu".device)                           --> bf16	cpu
---@param target string
---@return Tensor
function Tensor:to(target) end

--- A tensor of its own with the same values.
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(table.concat(t:copy():tolist(), " "))                           --> -1 0 4
---@return Tensor
function Tensor:copy() end

--- The same values without belonging to a batch: its axes go with those of any other of their size.
---
---     local a, b = pl.batch { { 1, 2 } }, pl.batch { { 3, 4 } }
---     print((a.ids:detach() + b.ids:detach()):tolist()[2])                  --> 6
---@return Tensor
function Tensor:detach() end

--- A copy whose axis is made longer by a value, after its own or before them.
---
---     local x = pl.ones({ 2 }, { axes = { "seq" } }):pad("seq", { to = 3, value = 7 })
---     print(table.concat(x:tolist(), " "))                                  --> 1 1 7
---@param axis string
---@param opts table { to=n, side="right"|"left", value=0 }
---@return Tensor
function Tensor:pad(axis, opts) end

--- Gives the memory back now; the tensor cannot be used afterwards.
---
---     local t = pl.tensor({ { 1, -2 }, { 3, 4 } }, { axes = { "row", "col" } })
---     t:free()
---     print(pcall(t.sum, t))   --> false	tensor: used after free()
function Tensor:free() end

--- Axes in another order.
---
---     local t = pl.zeros({ 2, 3 }, { axes = { "batch", "hidden" } })
---     print(t:order("hidden", "batch").shape)                               --> [hidden=3, batch=2]
---@param ... string every axis once
---@return Tensor
function Tensor:order(...) end

--- Other names for axes.
---
---     print(pl.zeros({ 2 }, { axes = { "batch" } }):rename({ batch = "text" }).shape)   --> [text=2]
---@param names table<string, string> old → new
---@return Tensor
function Tensor:rename(names) end

--- One axis as several.
---
---     local t = pl.zeros({ 2, 6 }, { axes = { "token", "hidden" } })
---     print(t:split_axis("hidden", { "head", "head_dim" }, { head = 2 }).shape)   --> [token=2, head=2, head_dim=3]
---@param axis string
---@param names string[]
---@param sizes table<string, integer> all but one may be left out
---@return Tensor
function Tensor:split_axis(axis, names, sizes) end

--- Neighbouring axes as one.
---
---     local t = pl.zeros({ 2, 2, 3 }, { axes = { "token", "head", "head_dim" } })
---     print(t:merge({ "head", "head_dim" }, "hidden").shape)                --> [token=2, hidden=6]
---@param names string[]
---@param name string
---@return Tensor
function Tensor:merge(names, name) end

--- Repeats axes of size 1, or adds axes.
---
---     local t = pl.tensor({ { 1 }, { 2 } }, { axes = { "row", "col" } })
---     print(t:expand({ col = 3 }).shape)                                    --> [row=2, col=3]
---@param sizes table<string, integer>
---@return Tensor
function Tensor:expand(sizes) end

--- Drops axes of size 1.
---
---     local t = pl.zeros({ 1, 3 }, { axes = { "row", "col" } })
---     print(t:squeeze "row".shape)                                          --> [col=3]
---@param ... string which; all without one
---@return Tensor
function Tensor:squeeze(...) end

return Tensor
