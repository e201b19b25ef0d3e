// A row's group of threads: a warp, or a block of whole warps. Combining is one fixed tree (lanes
// by halves, then warps by halves), the same in all threads, so every thread gets the same bits.
#pragma once

#include "kernels/cuda/cuda.h"

namespace perilune::kernels::cuda {

/// combine(v of lane 0, ..., v of lane 31) in every lane. `combine` must not care about the order
/// of its two operands.
template <class Value, class Combine>
__device__ __forceinline__ Value warp_combine(Value value, const Combine& combine) {
#pragma unroll
  for (int apart = kWarp / 2; apart > 0; apart /= 2)
    value = combine(value, __shfl_xor_sync(kFullMask, value, apart));
  return value;
}

struct Add {
  __device__ __forceinline__ float operator()(float a, float b) const { return a + b; }
};

/// A row's thread group: blockDim.x threads, of which each has `lane` its place, `threads` the
/// size. More than a warp: blockDim.y is 1, and `slots` has kWarp values for each combination.
struct RowGroup {
  int place, threads;

  __device__ __forceinline__ RowGroup()
      : place(static_cast<int>(threadIdx.x)), threads(static_cast<int>(blockDim.x)) {}

  /// All threads of the block call it when the row has more than a warp. `slots` may not be used
  /// for another combination.
  template <class Value, class Combine>
  __device__ __forceinline__ Value combine(Value value, Value identity, shared_array<Value> slots,
                                           const Combine& combine) const {
    value = warp_combine(value, combine);
    if (threads == kWarp) return value;
    const int lane = place % kWarp, warp = place / kWarp;
    if (lane == 0) slots[warp] = value;
    __syncthreads();
    value = lane < threads / kWarp ? static_cast<Value>(slots[lane]) : identity;
    return warp_combine(value, combine);
  }
};

inline constexpr int kRowThreads = 1024;  // at most, for one row
inline constexpr int kRowsPerBlock = 4;   // rows of one warp each

/// Blocks for `rows` rows whose threads take `each` elements: one row of a block, or where a warp
/// is enough for a row, kRowsPerBlock of them, since a multiprocessor holds few blocks.
inline LaunchConfig row_blocks(std::int64_t rows, std::int64_t width, std::int64_t each) {
  std::int64_t threads = (width + each * kWarp - 1) / (each * kWarp) * kWarp;
  threads = threads < kWarp ? kWarp : threads > kRowThreads ? kRowThreads : threads;
  const std::int64_t together = threads == kWarp ? kRowsPerBlock : 1;
  return {dim3(static_cast<unsigned>((rows + together - 1) / together)),
          dim3(static_cast<unsigned>(threads), static_cast<unsigned>(together))};
}

/// This thread's row, which may be past the last one where a block has several.
__device__ __forceinline__ std::int64_t this_row() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
}

}  // namespace perilune::kernels::cuda
