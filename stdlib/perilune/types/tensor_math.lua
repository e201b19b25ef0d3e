---@meta
-- What is computed from tensors: declarations, as in tensor.lua. Never run.

---@class Tensor
local Tensor = {}

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
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(("%.4f"):format(t:log_softmax "x":at { x = 3 }:item()))         --> -0.0247
---@param axis string
---@return Tensor
function Tensor:log_softmax(axis) end

--- e to the power of each element.
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(("%.4f"):format(t:exp():at { x = 3 }:item()))                   --> 54.5982
---@return Tensor
function Tensor:exp() end
--- Natural logarithm.
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(("%.4f"):format(t:log():at { x = 3 }:item()))                   --> 1.3863
---@return Tensor
function Tensor:log() end
--- Square root.
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(("%.4f"):format(t:sqrt():at { x = 3 }:item()))                  --> 2.0000
---@return Tensor
function Tensor:sqrt() end
--- 1 / x.
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(("%.4f"):format(t:reciprocal():at { x = 3 }:item()))            --> 0.2500
---@return Tensor
function Tensor:reciprocal() end
--- Each element to a power.
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(table.concat(t:pow(2):tolist(), " "))                           --> 1 0 16
---@param exponent number|Tensor
---@return Tensor
function Tensor:pow(exponent) end
--- Absolute values.
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(table.concat(t:abs():tolist(), " "))                            --> 1 0 4
---@return Tensor
function Tensor:abs() end
--- The next whole number below.
---
---     print(pl.tensor({ -1.5, 2.5 }, { axes = { "x" } }):floor():tolist()[1])     --> -2
---@return Tensor
function Tensor:floor() end
--- Error function.
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(("%.4f"):format(t:erf():at { x = 3 }:item()))                   --> 1.0000
---@return Tensor
function Tensor:erf() end
--- Hyperbolic tangent.
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(("%.4f"):format(t:tanh():at { x = 3 }:item()))                  --> 0.9993
---@return Tensor
function Tensor:tanh() end
--- 1 / (1 + exp(-x)).
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(("%.4f"):format(t:sigmoid():at { x = 3 }:item()))               --> 0.9820
---@return Tensor
function Tensor:sigmoid() end
--- max(x, 0).
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(table.concat(t:relu():tolist(), " "))                           --> 0 0 4
---@return Tensor
function Tensor:relu() end
--- x * Phi(x), by the error function.
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(("%.4f"):format(t:gelu():at { x = 3 }:item()))                  --> 3.9999
---@return Tensor
function Tensor:gelu() end
--- The tanh approximation of gelu ("gelu_new").
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(("%.4f"):format(t:gelu_tanh():at { x = 3 }:item()))             --> 3.9999
---@return Tensor
function Tensor:gelu_tanh() end
--- x * sigmoid(1.702 x).
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(("%.4f"):format(t:quick_gelu():at { x = 3 }:item()))            --> 3.9956
---@return Tensor
function Tensor:quick_gelu() end
--- x * sigmoid(x).
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(("%.4f"):format(t:silu():at { x = 3 }:item()))                  --> 3.9281
---@return Tensor
function Tensor:silu() end
--- Elements limited to [least, most].
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(table.concat(t:clamp(0, 2):tolist(), " "))                      --> 0 0 2
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
---
---     local t = pl.tensor({ { 1, -2 }, { 3, 4 } }, { axes = { "row", "col" } })
---     print(t:mean(), t:mean "row":tolist()[1])                             --> 1.5	2
---@param ... string
---@return Tensor|number
function Tensor:mean(...) end
--- Largest over axes; over all → number.
---
---     local t = pl.tensor({ { 1, -2 }, { 3, 4 } }, { axes = { "row", "col" } })
---     print(t:max(), t:max "col":tolist()[1])                               --> 4	1
---@param ... string
---@return Tensor|number
function Tensor:max(...) end
--- Smallest over axes; over all → number.
---
---     local t = pl.tensor({ { 1, -2 }, { 3, 4 } }, { axes = { "row", "col" } })
---     print(t:min(), t:min "col":tolist()[2])                               --> -2	3
---@param ... string
---@return Tensor|number
function Tensor:min(...) end
--- Euclidean length over axes; over all → number.
---
---     print(pl.tensor({ 3, 4 }, { axes = { "x" } }):norm())                 --> 5
---@param ... string
---@return Tensor|number
function Tensor:norm(...) end
--- Position of the largest over an axis (ids on vocab and class); ties go to the first.
---
---     local t = pl.tensor({ { 1, -2 }, { 3, 4 } }, { axes = { "row", "col" } })
---     print(t:argmax "col":tolist()[1], t:argmax "col":tolist()[2])         --> 1	2
---@param axis string|nil
---@return Tensor|integer
function Tensor:argmax(axis) end
--- Position of the smallest over an axis (ids on vocab and class); ties go to the first.
---
---     local t = pl.tensor({ { 1, -2 }, { 3, 4 } }, { axes = { "row", "col" } })
---     print(t:argmin "col":tolist()[1], t:argmin "col":tolist()[2])         --> 2	1
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
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(table.concat(t:cumsum "x":tolist(), " "))                       --> -1 -1 3
---@param axis string
---@return Tensor
function Tensor:cumsum(axis) end
--- Sorted over an axis, and where elements were.
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     local sorted, places = t:sort("x", { descending = true })
---     print(sorted:tolist()[1], places:tolist()[1])                         --> 4	3
---@param axis string
---@param opts table|nil { descending=false }
---@return Tensor values
---@return Tensor positions
function Tensor:sort(axis, opts) end
--- Elements at positions along an axis (from 1, negative from the end; ids on vocab and class).
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(table.concat(t:gather("x", pl.tensor({ 3, 1 }, { axes = { "pick" }, dtype = "i64" })):tolist(), " "))   --> 4 -1
---@param axis string
---@param positions Tensor|integer[]
---@return Tensor
function Tensor:gather(axis, positions) end
--- Elements of `a` where this mask is true, of `b` elsewhere.
---
---     local t = pl.tensor({ { 1, -2 }, { 3, 4 } }, { axes = { "row", "col" } })
---     print(t:gt(0):where(t, 0):tolist()[1][2])                             --> 0
---@param a Tensor|number
---@param b Tensor|number
---@return Tensor
function Tensor:where(a, b) end
--- Element by element, the larger.
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(table.concat(t:maximum(1):tolist(), " "))                       --> 1 1 4
---@param other Tensor|number
---@return Tensor
function Tensor:maximum(other) end
--- Element by element, the smaller.
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(table.concat(t:minimum(1):tolist(), " "))                       --> -1 0 1
---@param other Tensor|number
---@return Tensor
function Tensor:minimum(other) end
--- Whether any element is true, over axes; over all → boolean.
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(t:gt(3):any(), t:gt(4):any())                                   --> true	false
---@param ... string
---@return Tensor|boolean
function Tensor:any(...) end
--- Whether all elements are true, over axes; over all → boolean.
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(t:ge(-1):all(), t:gt(0):all())                                  --> true	false
---@param ... string
---@return Tensor|boolean
function Tensor:all(...) end

--- Element by element: less.
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(t:lt(4):at { x = 1 }:item(), t:lt(4):at { x = 3 }:item())       --> true	false
---@param other Tensor|number
---@return Tensor bool
function Tensor:lt(other) end
--- Element by element: less or equal.
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(t:le(4):at { x = 1 }:item(), t:le(4):at { x = 3 }:item())       --> true	true
---@param other Tensor|number
---@return Tensor bool
function Tensor:le(other) end
--- Element by element: greater.
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(t:gt(0):at { x = 1 }:item(), t:gt(0):at { x = 3 }:item())       --> false	true
---@param other Tensor|number
---@return Tensor bool
function Tensor:gt(other) end
--- Element by element: greater or equal.
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(t:ge(4):at { x = 1 }:item(), t:ge(4):at { x = 3 }:item())       --> false	true
---@param other Tensor|number
---@return Tensor bool
function Tensor:ge(other) end
--- Element by element: equal.
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(t:eq(4):at { x = 1 }:item(), t:eq(4):at { x = 3 }:item())       --> false	true
---@param other Tensor|number
---@return Tensor bool
function Tensor:eq(other) end
--- Element by element: not equal.
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(t:ne(4):at { x = 1 }:item(), t:ne(4):at { x = 3 }:item())       --> true	false
---@param other Tensor|number
---@return Tensor bool
function Tensor:ne(other) end
--- Element by element: both true.
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(t:gt(-1):logical_and(t:lt(4)):tolist()[2])                      --> true
---@param other Tensor
---@return Tensor bool
function Tensor:logical_and(other) end
--- Element by element: either true.
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(t:lt(0):logical_or(t:gt(3)):tolist()[2])                        --> false
---@param other Tensor
---@return Tensor bool
function Tensor:logical_or(other) end
--- Element by element: not true.
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(t:gt(0):logical_not():tolist()[1])                              --> true
---@return Tensor bool
function Tensor:logical_not() end
--- Which elements are NaN.
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(t:log():is_nan():at { x = 1 }:item(), t:log():is_nan():at { x = 3 }:item())     --> true	false
---@return Tensor bool
function Tensor:is_nan() end
--- Which elements are infinite.
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(t:is_inf():at { x = 1 }:item(), t:is_inf():at { x = 3 }:item())     --> false	false
---@return Tensor bool
function Tensor:is_inf() end

--- Whether another tensor has the same shape, dtype and bits.
---
---     local t = pl.tensor({ { 1, -2 }, { 3, 4 } }, { axes = { "row", "col" } })
---     print(t:equal(t:copy()), t:equal(t + 1))                              --> true	false
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
---
---     local t = pl.tensor({ { 1, -2 }, { 3, 4 } }, { axes = { "row", "col" } })
---     print(t:max_difference(t + 0.5))                                      --> 0.5
---@param other Tensor
---@return number
function Tensor:max_difference(other) end
--- Whether any element is NaN.
---
---     local t = pl.tensor({ -1, 0, 4 }, { axes = { "x" } })
---     print(t:has_nan(), t:log():has_nan())                                 --> false	true
---@return boolean
function Tensor:has_nan() end
--- Statistics of all elements.
---
---     local t = pl.tensor({ { 1, -2 }, { 3, 4 } }, { axes = { "row", "col" } })
---     local s = t:stats()
---     print(s.min, s.max, s.mean)                                           --> -2	4	1.5
---@return table { min=, max=, mean=, std=, nan=, inf= }
function Tensor:stats() end

return Tensor
