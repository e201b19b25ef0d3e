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
---@return number|boolean
function Tensor:item() end

--- Nested lists of all elements.
---@return table|number
function Tensor:tolist() end

--- On another device, or of another dtype.
---@param target string
---@return Tensor
function Tensor:to(target) end

--- A tensor of its own with the same values.
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
---@param sizes table<string, integer>
---@return Tensor
function Tensor:expand(sizes) end

--- Drops axes of size 1.
---@param ... string which; all without one
---@return Tensor
function Tensor:squeeze(...) end

--- Product of two tensors summed over an axis; axes both have and that are not summed go together.
---
---     local a = pl.ones({ 2, 3 }, { axes = { "batch", "hidden" } })
---     local w = pl.ones({ 4, 3 }, { axes = { "out", "hidden" } })
---     print(a:matmul(w, { over = "hidden" }).shape)                         --> [batch=2, out=4]
---@param other Tensor
---@param opts table { over= }
---@return Tensor
function Tensor:matmul(other, opts) end

--- Exponentials that sum to 1 over an axis.
---
---     print(pl.zeros({ 4 }, { axes = { "class" } }):softmax("class"):at({ class = 0 }):item())   --> 0.25
---@param axis string
---@return Tensor
function Tensor:softmax(axis) end

--- Logarithm of the softmax over an axis.
---@param axis string
---@return Tensor
function Tensor:log_softmax(axis) end

--- e to the power of each element.
---@return Tensor
function Tensor:exp() end
--- Natural logarithm.
---@return Tensor
function Tensor:log() end
--- Square root.
---@return Tensor
function Tensor:sqrt() end
--- 1 / x.
---@return Tensor
function Tensor:reciprocal() end
--- Each element to a power.
---@param exponent number|Tensor
---@return Tensor
function Tensor:pow(exponent) end
--- Absolute values.
---@return Tensor
function Tensor:abs() end
--- The next whole number below.
---@return Tensor
function Tensor:floor() end
--- Error function.
---@return Tensor
function Tensor:erf() end
--- Hyperbolic tangent.
---@return Tensor
function Tensor:tanh() end
--- 1 / (1 + exp(-x)).
---@return Tensor
function Tensor:sigmoid() end
--- max(x, 0).
---@return Tensor
function Tensor:relu() end
--- x * Phi(x), by the error function.
---@return Tensor
function Tensor:gelu() end
--- The tanh approximation of gelu ("gelu_new").
---@return Tensor
function Tensor:gelu_tanh() end
--- x * sigmoid(1.702 x).
---@return Tensor
function Tensor:quick_gelu() end
--- x * sigmoid(x).
---@return Tensor
function Tensor:silu() end
--- Elements limited to [least, most].
---@param least number|nil
---@param most number|nil
---@return Tensor
function Tensor:clamp(least, most) end

--- Sum over axes; over all → number.
---
---     local t = pl.ones({ 2, 3 }, { axes = { "batch", "hidden" } })
---     print(t:sum("hidden").shape, t:sum())                                 --> [batch=2]	6
---@param ... string
---@return Tensor|number
function Tensor:sum(...) end
--- Mean over axes; over all → number.
---@param ... string
---@return Tensor|number
function Tensor:mean(...) end
--- Largest over axes; over all → number.
---@param ... string
---@return Tensor|number
function Tensor:max(...) end
--- Smallest over axes; over all → number.
---@param ... string
---@return Tensor|number
function Tensor:min(...) end
--- Euclidean length over axes; over all → number.
---@param ... string
---@return Tensor|number
function Tensor:norm(...) end
--- Position of the largest over an axis (ids on vocab and class); ties go to the first.
---@param axis string|nil
---@return Tensor|integer
function Tensor:argmax(axis) end
--- Position of the smallest over an axis (ids on vocab and class); ties go to the first.
---@param axis string|nil
---@return Tensor|integer
function Tensor:argmin(axis) end
--- The n largest over an axis, best first, and where they were (ids on vocab and class).
---
---     local values, at = pl.tensor({ 3, 9, 5 }, { axes = { "n" } }):topk(2, "n")
---     print(values:tolist()[1], at:tolist()[1])                             --> 9	2
---@param n integer
---@param axis string
---@return Tensor values
---@return Tensor positions
function Tensor:topk(n, axis) end
--- Running sum over an axis.
---@param axis string
---@return Tensor
function Tensor:cumsum(axis) end
--- Sorted over an axis, and where elements were.
---@param axis string
---@param opts table|nil { descending=false }
---@return Tensor values
---@return Tensor positions
function Tensor:sort(axis, opts) end
--- Elements at positions along an axis (from 1, negative from the end; ids on vocab and class).
---@param axis string
---@param positions Tensor|integer[]
---@return Tensor
function Tensor:gather(axis, positions) end
--- Elements of `a` where this mask is true, of `b` elsewhere.
---@param a Tensor|number
---@param b Tensor|number
---@return Tensor
function Tensor:where(a, b) end
--- Element by element, the larger.
---@param other Tensor|number
---@return Tensor
function Tensor:maximum(other) end
--- Element by element, the smaller.
---@param other Tensor|number
---@return Tensor
function Tensor:minimum(other) end
--- Whether any element is true, over axes; over all → boolean.
---@param ... string
---@return Tensor|boolean
function Tensor:any(...) end
--- Whether all elements are true, over axes; over all → boolean.
---@param ... string
---@return Tensor|boolean
function Tensor:all(...) end

--- Element by element: less.
---@param other Tensor|number
---@return Tensor bool
function Tensor:lt(other) end
--- Element by element: less or equal.
---@param other Tensor|number
---@return Tensor bool
function Tensor:le(other) end
--- Element by element: greater.
---@param other Tensor|number
---@return Tensor bool
function Tensor:gt(other) end
--- Element by element: greater or equal.
---@param other Tensor|number
---@return Tensor bool
function Tensor:ge(other) end
--- Element by element: equal.
---@param other Tensor|number
---@return Tensor bool
function Tensor:eq(other) end
--- Element by element: not equal.
---@param other Tensor|number
---@return Tensor bool
function Tensor:ne(other) end
--- Element by element: both true.
---@param other Tensor
---@return Tensor bool
function Tensor:logical_and(other) end
--- Element by element: either true.
---@param other Tensor
---@return Tensor bool
function Tensor:logical_or(other) end
--- Element by element: not true.
---@return Tensor bool
function Tensor:logical_not() end
--- Which elements are NaN.
---@return Tensor bool
function Tensor:is_nan() end
--- Which elements are infinite.
---@return Tensor bool
function Tensor:is_inf() end

--- Whether another tensor has the same shape, dtype and bits.
---@param other Tensor
---@return boolean
function Tensor:equal(other) end
--- Whether all elements differ by at most `tolerance`.
---
---     local a = pl.ones({ 2 }, { axes = { "n" } })
---     print(a:close(a + 1e-6, 1e-5), a:equal(a + 1e-6))                     --> true	false
---@param other Tensor
---@param tolerance number
---@return boolean
function Tensor:close(other, tolerance) end
--- The largest difference between elements.
---@param other Tensor
---@return number
function Tensor:max_difference(other) end
--- Whether any element is NaN.
---@return boolean
function Tensor:has_nan() end
--- Statistics of all elements.
---@return table { min=, max=, mean=, std=, nan=, inf= }
function Tensor:stats() end

return Tensor
