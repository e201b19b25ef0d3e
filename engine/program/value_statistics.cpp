// What the values of a tensor are like. A device with memory of its own works them out itself: a
// tensor that is printed is not copied to the host.
#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/program/value_math.h"

namespace perilune::tensor_ops {

namespace {

/// Elements that are widened at a time: memory does not grow with the tensor.
constexpr std::int64_t kChunk = 1 << 16;

/// Calls `each` for every element, in their order.
template <typename Each>
void for_each(const Tensor& a, const Each& each) {
  if (a.shape().rank() == 0 || a.elements() <= kChunk) {
    for (const double value : a.to_doubles()) each(value);
    return;
  }
  const std::int64_t rows = a.shape().size(0);
  const std::int64_t step = std::max<std::int64_t>(1, kChunk / (a.elements() / rows));
  for (std::int64_t first = 0; first < rows; first += step) {
    const Tensor part = a.slice(0, first, std::min(step, rows - first));
    if (step == 1 && part.shape().rank() > 1) {
      for_each(part.pick(0, 0), each);
    } else {
      for (const double value : part.to_doubles()) each(value);
    }
  }
}

Statistics on_host(const Tensor& a) {
  Statistics result;
  double sum = 0;
  std::int64_t finite = 0;
  for_each(a, [&](double value) {
    ++result.count;
    if (std::isnan(value)) ++result.nan;
    if (std::isinf(value)) ++result.infinite;
    if (!std::isfinite(value)) return;
    result.minimum = finite == 0 ? value : std::min(result.minimum, value);
    result.maximum = finite == 0 ? value : std::max(result.maximum, value);
    sum += value;
    ++finite;
  });
  if (finite == 0) return result;
  result.mean = sum / static_cast<double>(finite);
  double squares = 0;
  for_each(a, [&](double value) {
    if (std::isfinite(value)) squares += (value - result.mean) * (value - result.mean);
  });
  result.deviation = std::sqrt(squares / static_cast<double>(finite));
  return result;
}

double total(kernels::Reduce op, const Value& value) {
  return reduce(op, value, {}).tensor.item();
}

std::int64_t count_of(const Value& condition) {
  const double found = total(kernels::Reduce::sum, convert(condition, DType::i64));
  return static_cast<std::int64_t>(found);
}

Value number_on(const Tensor& a, float number) {
  const std::shared_ptr<Context>& context = a.context();
  const Tensor one = Tensor::from(context, std::span<const float>(&number, 1), Shape{});
  return Value::of(one.to(a.storage()->device()));
}

Statistics on_device(const Tensor& a) {
  constexpr float kInfinite = std::numeric_limits<float>::infinity();
  const Value all = Value::of(a), x = convert(all, DType::f32);
  const Value nan = unary(kernels::Unary::is_nan, x), infinite = unary(kernels::Unary::is_inf, x);
  Statistics result;
  result.count = a.elements();
  result.nan = count_of(nan);
  result.infinite = count_of(infinite);
  const auto finite = static_cast<double>(result.count - result.nan - result.infinite);
  if (finite == 0) return result;
  const Value left_out = binary(kernels::Binary::logical_or, nan, infinite);
  const auto kept = [&](const Value& values, float instead) {
    return where(left_out, number_on(a, instead), values);
  };
  const bool whole = !is_float(a.dtype());  // f32 would round large ones
  result.minimum = total(kernels::Reduce::minimum, whole ? all : kept(x, kInfinite));
  result.maximum = total(kernels::Reduce::maximum, whole ? all : kept(x, -kInfinite));
  result.mean = total(kernels::Reduce::sum, kept(x, 0)) / finite;
  const Value apart = scalar(kernels::Binary::subtract, x, result.mean);
  result.deviation = std::sqrt(total(kernels::Reduce::sum_squares, kept(apart, 0)) / finite);
  return result;
}

}  // namespace

/// What an expanded axis repeats counts as often as it is there, and is looked at once.
Statistics statistics(const Tensor& a) {
  Tensor once = a;
  std::int64_t times = 1;
  for (int i = 0; i < a.shape().rank(); ++i) {
    if (a.strides()[static_cast<std::size_t>(i)] != 0 || a.shape().size(i) <= 1) continue;
    times *= a.shape().size(i);
    once = once.slice(i, 0, 1);
  }
  const bool host = a.device().host_visible() || a.elements() == 0;
  Statistics result = host ? on_host(once) : on_device(once);
  result.count *= times;
  result.nan *= times;
  result.infinite *= times;
  return result;
}

}  // namespace perilune::tensor_ops
