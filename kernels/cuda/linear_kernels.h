// Between linear.cu, which gathers a launch's weights, and the kernels of each mode.
#pragma once

#include "kernels/cuda/linear_device.h"

namespace perilune::kernels::cuda {

/// Gives every weight its blocks of `outputs_a_block`; the sum of them, and in `warps` the most
/// segments that any has.
inline unsigned place_blocks(Products& products, std::int64_t outputs_a_block, int& warps) {
  std::int64_t blocks = 0;
  for (int i = 0; i < products.count; ++i) {
    Product& product = products.list[i];
    product.first_block = static_cast<unsigned>(blocks);
    blocks += ceil_div(product.outputs, outputs_a_block);
    if (product.segments.count > warps) warps = product.segments.count;
  }
  return static_cast<unsigned>(blocks);
}

void linear_f32(const Launch& on, const Products& products, WeightFormat format);
void linear_f32_many(const Launch& on, const Products& products, WeightFormat format);
/// Of up to so many rows linear_bf16 looks at Products::squares_of_x and writes `squares`.
inline constexpr std::int64_t kSquaresRows = 8;
/// Of up to so many rows linear_bf16 may multiply the first weight's results by the second's.
inline constexpr std::int64_t kGatedRows = 32;
void linear_bf16(const Launch& on, const Products& products, bool gated);
/// Bytes of scratch that linear_bf16 needs.
std::size_t linear_bf16_scratch(std::int64_t rows, std::int64_t inputs);

}  // namespace perilune::kernels::cuda
