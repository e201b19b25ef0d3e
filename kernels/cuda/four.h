// Four neighbouring floats of a row: what one load moves.
#pragma once

#include "kernels/cuda/cuda.h"

namespace perilune::kernels::cuda {

inline constexpr int kFour = 4;

struct Four {
  float value[kFour];
};

/// Four elements from `at`; `none` past the end of the row. `vector`: 16 bytes at once.
__device__ __forceinline__ Four load_four(const float* from, std::int64_t at, std::int64_t width,
                                          bool vector, float none) {
  Four four;
  if (vector && at + kFour <= width) {
    const float4 read = *reinterpret_cast<const float4*>(from + at);
    four.value[0] = read.x;
    four.value[1] = read.y;
    four.value[2] = read.z;
    four.value[3] = read.w;
    return four;
  }
#pragma unroll
  for (int i = 0; i < kFour; ++i) four.value[i] = at + i < width ? from[at + i] : none;
  return four;
}

__device__ __forceinline__ void store_four(float* to, std::int64_t at, std::int64_t width,
                                           bool vector, const Four& four) {
  if (vector && at + kFour <= width) {
    *reinterpret_cast<float4*>(to + at) =
        make_float4(four.value[0], four.value[1], four.value[2], four.value[3]);
    return;
  }
#pragma unroll
  for (int i = 0; i < kFour; ++i)
    if (at + i < width) to[at + i] = four.value[i];
}

}  // namespace perilune::kernels::cuda
