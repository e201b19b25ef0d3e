// The order in which rms_norm sums a row's squares, where a product may have begun to (kSquared): a
// chain over four adjacent elements, a tree over the four chains of a piece of kSquared, then over
// the pieces a chain a lane, a warp's width apart, and a tree over the lanes. The pieces are a
// product's, which has computed them anyway; whoever reads its rows adds them up.
#pragma once

#include "kernels/cuda/cuda.h"
#include "kernels/kernel_arguments.h"

namespace perilune::kernels::cuda {

static_assert(kSquared == 16, "four lanes of four elements");

__device__ __forceinline__ float plus_squares(float total, const float (&four)[4]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) total = fmaf(four[i], four[i], total);
  return total;
}

/// Four neighbouring lanes with their chains: each has the piece's sum.
__device__ __forceinline__ float join_piece(float chain) {
  chain += __shfl_xor_sync(kFullMask, chain, 1);
  return chain + __shfl_xor_sync(kFullMask, chain, 2);
}

/// One over the root of a row's mean square, in every lane of the warp that asks; pieces[i] is the
/// sum of piece i.
template <class Pieces>
__device__ __forceinline__ float inverse_root(const Pieces& pieces, int count, float epsilon) {
  float total = 0.0f;
  for (int i = static_cast<int>(threadIdx.x) % kWarp; i < count; i += kWarp) {
    total = total + pieces[i];
  }
#pragma unroll
  for (int apart = kWarp / 2; apart > 0; apart /= 2) {
    total += __shfl_xor_sync(kFullMask, total, apart);
  }
  const float width = static_cast<float>(count) * static_cast<float>(kSquared);
  return 1.0f / sqrtf(total / width + epsilon);
}

/// An element of a normed row.
__device__ __forceinline__ float normed(float x, float inverse, float weight, float offset) {
  return x * inverse * (weight + offset);
}

}  // namespace perilune::kernels::cuda
