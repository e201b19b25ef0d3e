// What scripts do with tensors (API.md, Tensors), as free functions on values. They run at once on
// real tensors and record themselves on symbolic ones. Positions are 0-based here; bindings count
// from 1.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "engine/ops/shape_op.h"
#include "engine/program/pass.h"

namespace perilune::tensor_ops {

/// Elementwise on two tensors: axes align by name, sizes 1 broadcast (see align()). Floats compute
/// in f32, integers in i64; comparisons give bool; divide and power give floats. `where` goes into
/// errors, as in every function below.
Value binary(kernels::Binary op, const Value& a, const Value& b, const std::string& where = "");
/// The same with a number: a op number, or number op a when `reversed`. An integer tensor stays one
/// when the number is whole and the op is add, subtract, multiply, minimum or maximum.
Value scalar(kernels::Binary op, const Value& a, double number, bool reversed = false,
             const std::string& where = "");
Value add(const Value& a, const Value& b, const std::string& where = "");
Value subtract(const Value& a, const Value& b, const std::string& where = "");
Value multiply(const Value& a, const Value& b, const std::string& where = "");
Value divide(const Value& a, const Value& b, const std::string& where = "");

/// Elementwise on one tensor. is_nan, is_inf and logical_not give bool; abs and negate keep the
/// dtype; everything else gives f32.
Value unary(kernels::Unary op, const Value& a, const std::string& where = "");
/// x limited to [low, high].
Value clamp(const Value& a, double low, double high, const std::string& where = "");
/// Another element type (this value when it has it already).
Value convert(const Value& a, DType dtype, const std::string& where = "");
/// Contiguous in the order of its axes (a copy, while traced).
Value contiguous(const Value& a, const std::string& where = "");

/// softmax or log-softmax over one axis, f32.
Value softmax(const Value& a, const std::string& axis, bool logarithm = false,
              const std::string& where = "");
/// Over named axes, which are dropped; no names: all of them (rank 0). argmin and argmax take one
/// axis (or none for rank 1) and give i64 offsets. Ragged axes of a traced pass are refused.
Value reduce(kernels::Reduce op, const Value& a, const std::vector<std::string>& axes,
             const std::string& where = "");
/// Square root of the sum of squares.
Value norm(const Value& a, const std::vector<std::string>& axes, const std::string& where = "");
/// The first `count` along an axis by value (values, i64 offsets), ties by lowest offset. `count`
/// may not exceed the axis; count = its size sorts.
std::pair<Value, Value> top(const Value& a, const std::string& axis, std::int64_t count,
                            bool descending, const std::string& where = "");
/// Running sum along an axis.
Value cumulative_sum(const Value& a, const std::string& axis, const std::string& where = "");
/// Sum over axis `over` of a * b ("": the last of a); axes that both have are batch axes, the rest
/// of a's and then b's follow. f32.
Value matmul(const Value& a, const Value& b, const std::string& over,
             const std::string& where = "");
/// condition ? a : b, all aligned by name; condition bool.
Value where(const Value& condition, const Value& a, const Value& b, const std::string& where = "");
/// Rows of `axis` by integer `indices` (0-based); the axis is replaced by those of `indices`.
Value gather(const Value& a, const std::string& axis, const Value& indices,
             const std::string& where = "");

/// A view. Out of range throws with the axis, its size and the position counted from 1 (from 0 for
/// id axes: vocab, class).
Value at(const Value& a, std::vector<AxisRange> ranges, const std::string& where = "");
/// A view with `axis` as several; one part's size may be 0 (worked out). Sizes must multiply to the
/// axis' size.
Value split_axis(const Value& a, const std::string& axis, const std::vector<Axis>& parts,
                 const std::string& where = "");
/// Neighbouring axes, outermost first, as one; a view where the memory allows.
Value merge(const Value& a, const std::vector<std::string>& axes, const std::string& name,
            const std::string& where = "");
/// old -> new names, a view.
Value rename(const Value& a, const std::vector<std::pair<std::string, std::string>>& names,
             const std::string& where = "");
/// All axes in another order, a view.
Value order(const Value& a, const std::vector<std::string>& names, const std::string& where = "");
/// An axis of size 1, or a new outermost one, repeated `size` times without copying.
Value expand(const Value& a, const std::string& axis, std::int64_t size,
             const std::string& where = "");
/// Drops an axis of size 1 ("": all of them), a view.
Value squeeze(const Value& a, const std::string& axis = "", const std::string& where = "");

/// Joins along an axis that all have; every other axis must agree (the error says which tensor does
/// not). Identities of `axis` are dropped.
Tensor cat(const std::vector<Tensor>& list, const std::string& axis, const std::string& where = "");
/// A new outermost axis over tensors of one shape.
Tensor stack(const std::vector<Tensor>& list, const std::string& axis,
             const std::string& where = "");
/// Views cut to the shortest along `axis`, and what each lost.
std::pair<std::vector<Tensor>, std::vector<std::int64_t>> clamp_to_shortest(
    const std::vector<Tensor>& list, const std::string& axis, const std::string& where = "");
/// Overwrites `target` (often a view) with `source`, aligned by name; with a number. Throws
/// Error(state) for a read-only tensor.
void assign(const Tensor& target, const Tensor& source, const std::string& where = "");
void assign(const Tensor& target, double number, const std::string& where = "");

/// Same dtype, axis names, sizes and values (NaN equals NaN); identities are ignored.
bool equal(const Tensor& a, const Tensor& b);
/// Largest |a - b|, axes aligned by name (0 when empty; infinity where only one is NaN). Throws
/// when names or sizes differ.
double max_difference(const Tensor& a, const Tensor& b, const std::string& where = "");
/// max_difference(a, b) <= tolerance * max(1, max|b|), DESIGN §5.
bool close(const Tensor& a, const Tensor& b, double tolerance, const std::string& where = "");

struct Statistics {
  double minimum = 0, maximum = 0, mean = 0, deviation = 0;  // over finite values
  std::int64_t nan = 0, infinite = 0, count = 0;
};
Statistics statistics(const Tensor& a);

}  // namespace perilune::tensor_ops
