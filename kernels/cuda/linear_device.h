// What the products share: the tree in which an output is summed, and what happens to the sum.
//
// Inputs are cut into segments, by the weight's shape alone. Each segment is summed from 0 with
// inputs ascending (f32: one fmaf chain; bf16: a chain of mma.m16n8k16), and the segments' sums are
// added in ascending order. Kernels for few rows give the segments to different warps, those for
// many rows walk them one after the other: the same bits, so neither the number of rows nor a row's
// place among them matters (DESIGN, Numbers).
#pragma once

#include "kernels/cuda/activation.h"
#include "kernels/cuda/packed.h"

namespace perilune::kernels::cuda {

inline constexpr int kMostSegments = 8;  // of inputs: warps of a block
inline constexpr int kMostWeights = 8;   // LinearSegments of one launch

/// How the inputs of a weight are cut: a block a panel, segments to fill about 132 processors with
/// four warps each at one row, but no segment under 128 inputs.
struct Segments {
  int count;
  int length;  // a multiple of 32; the last may be shorter
};
inline Segments segments_of(std::int64_t outputs, std::int64_t inputs,
                            std::int64_t outputs_a_block) {
  constexpr std::int64_t kWarps = 528, kLeast = 128;
  const std::int64_t blocks = ceil_div(outputs, outputs_a_block);
  std::int64_t count = ceil_div(kWarps, blocks);
  if (count > kMostSegments) count = kMostSegments;
  if (count > inputs / kLeast) count = inputs / kLeast;
  if (count < 1) count = 1;
  const std::int64_t length = ceil_div(ceil_div(inputs, count), 32) * 32;
  return {static_cast<int>(ceil_div(inputs, length > 0 ? length : 1)), static_cast<int>(length)};
}

/// One weight of a launch, and the blocks that are its.
struct Product {
  const void* weight;
  const float* bias;
  const float* residual;  // rows apart as out's, or null
  float* out;
  std::int64_t out_stride, outputs;
  Activation activation;
  Segments segments;
  unsigned first_block;  // of grid.x
};

struct Products {
  const float* x;
  std::int64_t x_stride, rows, inputs;
  float scale;
  int count;
  Product list[kMostWeights];
  // LinearFusion's, for the kernels that look at them (linear_bf16.cu).
  const float* norm_weight;
  float norm_offset, norm_epsilon;
  const float* squares_of_x;  // null: x is multiplied as it is
  float* squares;
};

__device__ __forceinline__ const Product& product_of(const Products& products, unsigned block) {
  int at = 0;
  while (at + 1 < products.count && products.list[at + 1].first_block <= block) ++at;
  return products.list[at];
}

/// An output whose products are summed, without its residual.
__device__ __forceinline__ float output_of(const Products& products, const Product& product,
                                           std::int64_t output, float sum) {
  if (products.scale != 1.0f) sum *= products.scale;
  if (product.bias != nullptr) sum += product.bias[output];
  return activate(product.activation, sum);
}

/// Returns what was stored; 0 beyond the last row or output.
__device__ __forceinline__ float store_output(const Products& products, const Product& product,
                                              std::int64_t row, std::int64_t output, float sum) {
  if (row >= products.rows || output >= product.outputs) return 0.0f;
  float value = output_of(products, product, output, sum);
  const std::int64_t at = row * product.out_stride + output;
  if (product.residual != nullptr) value += product.residual[at];
  product.out[at] = value;
  return value;
}

}  // namespace perilune::kernels::cuda
