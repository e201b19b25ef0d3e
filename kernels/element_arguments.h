// Arguments of the kernels that work element by element, reduce axes or move rows.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernel_arguments.h"

namespace perilune::kernels {

/// Up to six axes, outermost first, element strides; 0 strides broadcast.
inline constexpr int kMaxAxes = 6;
struct Strided {
  void* data;
  DType dtype;
  std::int64_t strides[kMaxAxes];
};

enum class Unary : std::uint8_t {
  exp,
  log,
  sqrt,
  tanh,
  abs,
  negate,
  gelu,
  gelu_tanh,
  quick_gelu,
  relu,
  silu,
  sigmoid,
  erf,
  reciprocal,
  floor,
  is_nan,
  is_inf,
  logical_not
};
enum class Binary : std::uint8_t {
  add,
  subtract,
  multiply,
  divide,
  minimum,
  maximum,
  power,
  less,
  less_equal,
  greater,
  greater_equal,
  equal,
  not_equal,
  logical_and,
  logical_or
};
enum class Reduce : std::uint8_t {
  sum,
  mean,
  minimum,
  maximum,
  argmin,
  argmax,
  any,
  all,
  sum_squares
};

/// out = op(x), element by element. Floats compute in f32; integers in i64 for add, subtract,
/// multiply, minimum, maximum and comparisons.
struct UnaryArguments {
  Unary op;
  int rank;
  std::int64_t sizes[kMaxAxes];
  Strided out, x;
};
struct BinaryArguments {
  Binary op;
  int rank;
  std::int64_t sizes[kMaxAxes];
  Strided out, a, b;
  /// The operand whose data is null, everywhere: f32 or i64, as its dtype says.
  double number = 0;
};
/// out = condition ? a : b
struct WhereArguments {
  int rank;
  std::int64_t sizes[kMaxAxes];
  Strided out, condition, a, b;
};
/// Copies, converting between dtypes (floats to integers truncate toward zero; to bool: x != 0).
struct CopyArguments {
  int rank;
  std::int64_t sizes[kMaxAxes];
  Strided out, x;
};
/// Reduces the last `reduced` of `rank` axes into out (strides of the kept axes; argmin and argmax
/// give i64 offsets along the one reduced axis; ties go to the lowest). Ascending order; sums of
/// floats in f64, of integers in i64.
struct ReduceArguments {
  Reduce op;
  int rank, reduced;
  std::int64_t sizes[kMaxAxes];
  Strided out, x;
};
/// Over the last axis: softmax or log-softmax in f32, maximum subtracted; a row of -inf gives
/// zeros.
struct SoftmaxArguments {
  float* out;  // [row, width]
  const float* x;
  std::int64_t out_stride, x_stride, rows, width;
  bool logarithm;
};
/// Running sum along the last axis.
struct CumulativeSumArguments {
  float* out;
  const float* x;
  std::int64_t out_stride, x_stride, rows, width;
};
/// Order of the last axis, descending or ascending by value, ties by lowest index: the first
/// `count` of each row as values and i64 indices. NaN sorts last.
struct TopArguments {
  float* values;          // [row, count]
  std::int64_t* indices;  // [row, count]
  const float* x;
  std::int64_t x_stride, rows, width, count;
  bool descending;
};
/// out[r] = x[indices[r]] for rows of row_bytes; indices in range.
struct GatherRowsArguments {
  void* out;
  const void* x;
  const std::int64_t* indices;
  std::int64_t rows, row_bytes, x_stride_bytes;
};
/// out[i] = activation(a[i]) * b[i]; b null: as if all ones
struct GatedArguments {
  float* out;
  const float* a;
  const float* b;
  std::int64_t count;
  Activation activation;
};
/// General product for tensors in scripts: out[b, m, n] = sum over k ascending of a[b, m, k]*c[b,
/// n, k] with any strides (elements).
struct MatmulArguments {
  float* out;
  const float* a;
  const float* b;
  std::int64_t batches, m, n, k;
  std::int64_t out_batch, out_m;  // n contiguous
  std::int64_t a_batch, a_m, a_k, b_batch, b_n, b_k;
};

}  // namespace perilune::kernels
