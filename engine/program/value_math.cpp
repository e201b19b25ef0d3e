#include "engine/program/value_math.h"

#include <algorithm>
#include <cmath>

#include "engine/base/row_identity.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/reduce.h"
#include "engine/ops/rows.h"

namespace perilune::tensor_ops {

namespace {

template <typename SomeOp, typename... Arguments>
Value apply_one(const std::string& where, std::vector<Value> inputs, Arguments&&... arguments) {
  const auto op = std::make_shared<SomeOp>(std::forward<Arguments>(arguments)...);
  return apply_op(op, std::move(inputs), where).front();
}

/// Adds the place to errors of checks that happen outside an op.
template <typename Function>
auto at_place(const std::string& where, Function&& function) {
  try {
    return function();
  } catch (Error& error) {
    error.where(where);
    throw;
  }
}

int axis_of(const char* op, const Value& a, const std::string& axis, const std::string& where) {
  return at_place(where, [&] { return a.spec.shape.index(op, axis); });
}

/// The names with `axis` moved to the end (or, with `to_front`, to the beginning).
std::vector<std::string> moved(const Shape& shape, const std::string& axis, bool to_front) {
  std::vector<std::string> names = shape.names();
  names.erase(std::find(names.begin(), names.end(), axis));
  names.insert(to_front ? names.begin() : names.end(), axis);
  return names;
}

/// f over `a` with `axis` last, back in a's order.
template <typename Function>
Value over_last(const Value& a, const std::string& axis, const std::string& where,
                Function&& function) {
  if (a.spec.shape.back().name == axis) return function(convert(a, DType::f32, where));
  const std::vector<std::string> names = a.spec.shape.names();
  const Value last = order(a, moved(a.spec.shape, axis, false), where);
  return order(function(convert(last, DType::f32, where)), names, where);
}

kernels::Activation as_activation(kernels::Unary op) {
  switch (op) {
    case kernels::Unary::gelu: return kernels::Activation::gelu;
    case kernels::Unary::gelu_tanh: return kernels::Activation::gelu_tanh;
    case kernels::Unary::quick_gelu: return kernels::Activation::quick_gelu;
    case kernels::Unary::relu: return kernels::Activation::relu;
    case kernels::Unary::silu: return kernels::Activation::silu;
    case kernels::Unary::tanh: return kernels::Activation::tanh;
    case kernels::Unary::sigmoid: return kernels::Activation::sigmoid;
    default: return kernels::Activation::none;
  }
}

}  // namespace

// ---------------------------------------------------------------- elementwise

Value binary(kernels::Binary op, const Value& a, const Value& b, const std::string& where) {
  return apply_one<BinaryOp>(where, {a, b}, op);
}

Value scalar(kernels::Binary op, const Value& a, double number, bool reversed,
             const std::string& where) {
  return apply_one<ScalarOp>(where, {a}, op, number, reversed);
}

Value add(const Value& a, const Value& b, const std::string& where) {
  return binary(kernels::Binary::add, a, b, where);
}
Value subtract(const Value& a, const Value& b, const std::string& where) {
  return binary(kernels::Binary::subtract, a, b, where);
}
Value multiply(const Value& a, const Value& b, const std::string& where) {
  return binary(kernels::Binary::multiply, a, b, where);
}
Value divide(const Value& a, const Value& b, const std::string& where) {
  return binary(kernels::Binary::divide, a, b, where);
}

Value unary(kernels::Unary op, const Value& a, const std::string& where) {
  const kernels::Activation activation = as_activation(op);
  if (activation != kernels::Activation::none && a.spec.dtype == DType::f32) {
    return apply_one<ActivationOp>(where, {a}, activation);
  }
  return apply_one<UnaryOp>(where, {a}, op);
}

Value clamp(const Value& a, double low, double high, const std::string& where) {
  if (!(low <= high)) {
    throw Error(ErrorCode::argument, "clamp", "the lower limit is above the upper")
        .operand("limits", std::to_string(low) + " to " + std::to_string(high))
        .where(where);
  }
  Value x = a;
  if (low > -HUGE_VAL) x = scalar(kernels::Binary::maximum, x, low, false, where);
  if (high < HUGE_VAL) x = scalar(kernels::Binary::minimum, x, high, false, where);
  return x;
}

Value convert(const Value& a, DType dtype, const std::string& where) {
  if (a.spec.dtype == dtype) return a;
  return apply_one<CopyOp>(where, {a}, dtype);
}

Value contiguous(const Value& a, const std::string& where) {
  if (a.tensor.defined() && a.tensor.contiguous()) return a;
  return apply_one<CopyOp>(where, {a});
}

Value where(const Value& condition, const Value& a, const Value& b, const std::string& where) {
  return apply_one<WhereOp>(where, {condition, a, b});
}

// ---------------------------------------------------------------- over axes

Value softmax(const Value& a, const std::string& axis, bool logarithm, const std::string& where) {
  axis_of("softmax", a, axis, where);
  return over_last(a, axis, where, [&](const Value& x) {
    return apply_one<LastAxisOp>(where, {x}, logarithm ? LastAxis::log_softmax : LastAxis::softmax);
  });
}

Value cumulative_sum(const Value& a, const std::string& axis, const std::string& where) {
  axis_of("cumsum", a, axis, where);
  const Value sum = over_last(a, axis, where, [&](const Value& x) {
    return apply_one<LastAxisOp>(where, {x}, LastAxis::cumulative_sum);
  });
  return is_float(a.spec.dtype) ? sum : convert(sum, DType::i64, where);
}

Value reduce(kernels::Reduce op, const Value& a, const std::vector<std::string>& axes,
             const std::string& where) {
  return apply_one<ReduceOp>(where, {a}, op, axes.empty() ? a.spec.shape.names() : axes);
}

Value norm(const Value& a, const std::vector<std::string>& axes, const std::string& where) {
  return unary(kernels::Unary::sqrt, reduce(kernels::Reduce::sum_squares, a, axes, where), where);
}

std::pair<Value, Value> top(const Value& a, const std::string& axis, std::int64_t count,
                            bool descending, const std::string& where) {
  axis_of("topk", a, axis, where);
  const std::vector<std::string> names = a.spec.shape.names();
  const bool last = names.back() == axis;
  Value x = last ? a : order(a, moved(a.spec.shape, axis, false), where);
  x = convert(x, DType::f32, where);
  std::vector<Value> results = apply_op(std::make_shared<TopOp>(count, descending), {x}, where);
  if (!last) {
    for (Value& result : results) result = order(result, names, where);
  }
  return {convert(results[0], a.spec.dtype, where), results[1]};
}

namespace {

struct MetAxis {
  const Value& of;
  const Axis& axis;
};

void expect_same_rows(const char* op, MetAxis a, MetAxis b, const std::string& where) {
  const bool batches = a.axis.identity != 0 && b.axis.identity != 0;
  if (!batches || a.axis.identity == b.axis.identity) return;
  throw Error(ErrorCode::shape, op, different_batches(a.axis.name, a.axis.size, b.axis.size))
      .operand("a", a.of.spec.text() + whose_rows(a.axis.identity))
      .operand("b", b.of.spec.text() + whose_rows(b.axis.identity))
      .where(where)
      .hint(kTwoBatchesHint);
}

}  // namespace

Value matmul(const Value& a, const Value& b, const std::string& over, const std::string& where) {
  const Shape &left = a.spec.shape, &right = b.spec.shape;
  const auto fail = [&](const std::string& problem) {
    return Error(ErrorCode::shape, "matmul", problem)
        .operand("a", a.spec.text())
        .operand("b", b.spec.text())
        .where(where);
  };
  if (left.rank() == 0 || right.rank() == 0) throw fail("both need an axis to sum over");
  const std::string name = over.empty() ? left.back().name : over;
  const Axis& inner = left.axis(axis_of("matmul", a, name, where));
  const Axis& other = right.axis(axis_of("matmul", b, name, where));
  expect_same_rows("matmul", {a, inner}, {b, other}, where);
  if (!axes_agree(inner, other)) {
    throw fail("inner sizes differ over \"" + name + "\" " + versus(inner.size, other.size))
        .hint("a:matmul(b, { over=... }) sums over an axis that both have");
  }
  if (inner.symbolic()) throw fail("axis \"" + name + "\" holds the rows of a whole batch");
  std::vector<std::string> shared, left_own, right_own;
  for (const Axis& axis : left.axes()) {
    if (axis.name == name) continue;
    const int found = right.find(axis.name);
    (found >= 0 ? shared : left_own).push_back(axis.name);
    if (found >= 0) expect_same_rows("matmul", {a, axis}, {b, right.axis(found)}, where);
    if (found >= 0 && !axes_agree(axis, right.axis(found))) {
      throw fail("axis \"" + axis.name + "\" is in both and differs " +
                 versus(axis.size, right.axis(found).size))
          .hint("rename it in one of them for all pairs of rows");
    }
  }
  for (const Axis& axis : right.axes()) {
    if (axis.name != name && left.find(axis.name) < 0) right_own.push_back(axis.name);
  }
  const auto arranged = [&](const Value& x, std::vector<std::string> own) {
    std::vector<std::string> names = shared;
    names.insert(names.end(), own.begin(), own.end());
    names.push_back(name);
    return convert(names == x.spec.shape.names() ? x : order(x, names, where), DType::f32, where);
  };
  return apply_one<MatmulOp>(where, {arranged(a, left_own), arranged(b, right_own)},
                             static_cast<int>(shared.size()));
}

Value gather(const Value& a, const std::string& axis, const Value& indices,
             const std::string& where) {
  const int at = axis_of("gather", a, axis, where);
  const Value front = at == 0 ? a : order(a, moved(a.spec.shape, axis, true), where);
  Value result = apply_one<GatherOp>(where, {front, indices}, is_id_axis(axis));
  if (at == 0) return result;
  // The indices' axes go where the axis was.
  std::vector<std::string> names = a.spec.shape.names();
  const std::vector<std::string> mine = indices.spec.shape.names();
  names.erase(names.begin() + at);
  names.insert(names.begin() + at, mine.begin(), mine.end());
  return order(result, names, where);
}

// ---------------------------------------------------------------- views

Value at(const Value& a, std::vector<AxisRange> ranges, const std::string& where) {
  return apply_one<AtOp>(where, {a}, std::move(ranges));
}

Value split_axis(const Value& a, const std::string& axis, const std::vector<Axis>& parts,
                 const std::string& where) {
  return apply_one<SplitAxisOp>(where, {a}, axis, parts);
}

Value merge(const Value& a, const std::vector<std::string>& axes, const std::string& name,
            const std::string& where) {
  const auto op = std::make_shared<MergeOp>(axes, name);
  at_place(where, [&] { return op->infer(std::span(&a.spec, 1)); });
  const bool view = a.tensor.defined() && op->possible(a.tensor);
  return apply_op(op, {view ? a : contiguous(a, where)}, where).front();
}

Value rename(const Value& a, const std::vector<std::pair<std::string, std::string>>& names,
             const std::string& where) {
  return apply_one<RenameOp>(where, {a}, names);
}

Value order(const Value& a, const std::vector<std::string>& names, const std::string& where) {
  return apply_one<OrderOp>(where, {a}, names);
}

Value expand(const Value& a, const std::string& axis, std::int64_t size, const std::string& where) {
  return apply_one<ExpandOp>(where, {a}, axis, size);
}

Value squeeze(const Value& a, const std::string& axis, const std::string& where) {
  return apply_one<SqueezeOp>(where, {a}, axis);
}

}  // namespace perilune::tensor_ops
