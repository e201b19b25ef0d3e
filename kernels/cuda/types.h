// 16-bit floats as the bits they are stored in, and vectors of what one load moves.
#pragma once

#include <cstdint>

#include "kernels/dtype.h"

#ifndef PERILUNE_EMULATOR
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace perilune::kernels::cuda {

/// Bits of a bfloat16; of an IEEE half.
struct bf16 {
  std::uint16_t bits;
};
struct f16 {
  std::uint16_t bits;
};

inline constexpr int kWarp = 32;
inline constexpr unsigned kFullMask = 0xffffffffu;

__device__ __forceinline__ float to_float(float x) {
  return x;
}
__device__ __forceinline__ float to_float(bf16 x) {
  return __uint_as_float(static_cast<unsigned>(x.bits) << 16);
}
/// Round to nearest, ties to even; NaN stays NaN.
__device__ __forceinline__ bf16 to_bf16(float x) {
#ifdef PERILUNE_EMULATOR
  return {perilune::f32_to_bf16(x)};
#else
  return {__bfloat16_as_ushort(__float2bfloat16_rn(x))};
#endif
}
__device__ __forceinline__ float to_float(f16 x) {
#ifdef PERILUNE_EMULATOR
  return perilune::f16_to_f32(x.bits);
#else
  return __half2float(__ushort_as_half(x.bits));
#endif
}
__device__ __forceinline__ f16 to_f16(float x) {
#ifdef PERILUNE_EMULATOR
  return {perilune::f32_to_f16(x)};
#else
  return {__half_as_ushort(__float2half_rn(x))};
#endif
}

template <class T>
struct Rounded;  // from f32 to a storage type
template <>
struct Rounded<float> {
  __device__ __forceinline__ static float of(float x) { return x; }
};
template <>
struct Rounded<bf16> {
  __device__ __forceinline__ static bf16 of(float x) { return to_bf16(x); }
};
template <>
struct Rounded<f16> {
  __device__ __forceinline__ static f16 of(float x) { return to_f16(x); }
};

/// Two bfloat16 in one register, the first in the low half: what mma operands are made of.
__device__ __forceinline__ std::uint32_t pack_bf16(float low, float high) {
  return static_cast<std::uint32_t>(to_bf16(low).bits) |
         static_cast<std::uint32_t>(to_bf16(high).bits) << 16;
}

}  // namespace perilune::kernels::cuda
