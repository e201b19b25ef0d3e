// What the kernels of mode bf16 share.
#pragma once

#include "kernels/cuda/linear_kernels.h"

namespace perilune::kernels::cuda {

/// Pairs of tiles (32 inputs) that cover the inputs.
__host__ __device__ constexpr std::int64_t tile_pairs(std::int64_t inputs) {
  return ceil_div(inputs, 2 * kTile);
}

/// Adds the products of one tile of inputs (`half` of a pair) to every sum: weights[s] are strip
/// s's two tiles as they are packed, b[c] group c's pair as round_rows writes it.
template <int Strips, int Columns>
__device__ __forceinline__ void multiply_tiles(float (&sum)[Strips][Columns][4],
                                               const uint4 (&weights)[Strips][2],
                                               const uint4 (&b)[Columns], int half) {
#pragma unroll
  for (int c = 0; c < Columns; ++c) {
    const std::uint32_t columns[2] = {half == 0 ? b[c].x : b[c].z, half == 0 ? b[c].y : b[c].w};
#pragma unroll
    for (int s = 0; s < Strips; ++s) {
      const uint4 word = weights[s][half];
      const std::uint32_t a[4] = {word.x, word.y, word.z, word.w};
      ptx::mma_bf16(sum[s][c], a, columns);
    }
  }
}

/// The product of many rows; x lies rounded in on.scratch.
void linear_bf16_many(const Launch& on, const Products& products);

}  // namespace perilune::kernels::cuda
