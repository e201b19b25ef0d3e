// cumulative_sum: out[i] = x[0] + ... + x[i], row by row.
//
// A block takes a row in tiles of kTile elements. Within a tile each thread sums its own kEach
// neighbours, a warp scans the threads' sums (Hillis & Steele 1986), the warps' sums are added
// ascending, and the tile begins with what the tiles before it came to: an order that depends on
// the position only. Nothing is ever subtracted, so infinities and NaN spread to the right only.
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/rows.h"

namespace perilune::kernels::cuda {
namespace {

constexpr int kThreads = 256, kEach = 4, kTile = kThreads * kEach, kWarps = kThreads / kWarp;

__global__ void __launch_bounds__(kThreads) cumulative_sum_kernel(CumulativeSumArguments a) {
  SharedArena arena;
  auto warp_sums = arena.take<float>(2 * kWarps);  // of this tile and the one before
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, warp = thread / kWarp;
  const float* x = a.x + static_cast<std::int64_t>(blockIdx.x) * a.x_stride;
  float* out = a.out + static_cast<std::int64_t>(blockIdx.x) * a.out_stride;
  float carry = 0.0f;
  int half = 0;
  for (std::int64_t tile = 0; tile < a.width; tile += kTile, half = kWarps - half) {
    const std::int64_t at = tile + thread * kEach;
    float own[kEach];
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      sum += at + i < a.width ? x[at + i] : 0.0f;
      own[i] = sum;
    }
#pragma unroll
    for (int apart = 1; apart < kWarp; apart *= 2) {
      const float below = __shfl_up_sync(kFullMask, sum, apart);
      if (lane >= apart) sum = below + sum;
    }
    float before = __shfl_up_sync(kFullMask, sum, 1);
    if (lane == 0) before = 0.0f;
    if (lane == kWarp - 1) warp_sums[half + warp] = sum;
    __syncthreads();
    float base = carry;
    for (int i = 0; i < kWarps; ++i) {
      if (i == warp) base = carry;
      carry += warp_sums[half + i];
    }
#pragma unroll
    for (int i = 0; i < kEach; ++i)
      if (at + i < a.width) out[at + i] = base + (before + own[i]);
  }
}

}  // namespace

// One block a row: the tiles of a row depend on each other.
void cumulative_sum(const Launch& on, const CumulativeSumArguments& a) {
  if (a.width == 0) return;
  launch(on, "cumulative_sum",
         {dim3(static_cast<unsigned>(a.rows)), dim3(kThreads), shared_bytes<float>(2 * kWarps)},
         cumulative_sum_kernel, a);
}

}  // namespace perilune::kernels::cuda
