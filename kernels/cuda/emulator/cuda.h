// CUDA C++ as plain C++: the names that kernels use (see kernels/cuda/cuda.h), each with the checks
// of the block that runs.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/cuda/emulator/block.h"
#include "kernels/cuda/emulator/run.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

#define threadIdx (::perilune::kernels::cuda::emulator::Block::current().thread().index)
#define blockIdx (::perilune::kernels::cuda::emulator::Block::current().index())
#define blockDim (::perilune::kernels::cuda::emulator::Block::current().size())
#define gridDim (::perilune::kernels::cuda::emulator::Block::current().grid())

namespace perilune::kernels::cuda::emulator {

/// A shuffle of any kind of a four- or eight-byte value.
template <class T>
T shuffle_value(Collective kind, unsigned mask, T value, int lane, int width) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  Block& block = Block::current();
  std::uint32_t* in = block.thread().in;
  in[1] = 0;
  std::memcpy(in, &value, sizeof value);
  in[2] = static_cast<std::uint32_t>(lane);
  in[3] = static_cast<std::uint32_t>(width);
  block.collective(kind, mask);
  std::memcpy(&value, block.thread().out, sizeof value);
  return value;
}

inline std::uint32_t warp_word(Collective kind, unsigned mask, std::uint32_t value) {
  Block& block = Block::current();
  block.thread().in[0] = value;
  block.collective(kind, mask);
  return block.thread().out[0];
}

}  // namespace perilune::kernels::cuda::emulator

inline void __syncthreads() {
  perilune::kernels::cuda::emulator::Block::current().barrier();
}
inline void __syncwarp(unsigned mask = 0xffffffffu) {
  using namespace perilune::kernels::cuda::emulator;
  Block::current().collective(Collective::syncwarp, mask);
}
template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32) {
  using namespace perilune::kernels::cuda::emulator;
  return shuffle_value(Collective::shuffle, mask, value, lane, width);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = 32) {
  using namespace perilune::kernels::cuda::emulator;
  return shuffle_value(Collective::shuffle_up, mask, value, static_cast<int>(distance), width);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = 32) {
  using namespace perilune::kernels::cuda::emulator;
  return shuffle_value(Collective::shuffle_down, mask, value, static_cast<int>(distance), width);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32) {
  using namespace perilune::kernels::cuda::emulator;
  return shuffle_value(Collective::shuffle_xor, mask, value, lanes, width);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  using namespace perilune::kernels::cuda::emulator;
  return warp_word(Collective::ballot, mask, predicate != 0);
}
inline int __any_sync(unsigned mask, int predicate) {
  using namespace perilune::kernels::cuda::emulator;
  return static_cast<int>(warp_word(Collective::any, mask, predicate != 0));
}
inline int __all_sync(unsigned mask, int predicate) {
  using namespace perilune::kernels::cuda::emulator;
  return static_cast<int>(warp_word(Collective::all, mask, predicate != 0));
}
inline unsigned __reduce_add_sync(unsigned mask, unsigned value) {
  using namespace perilune::kernels::cuda::emulator;
  return warp_word(Collective::add, mask, value);
}
inline int __reduce_add_sync(unsigned mask, int value) {
  return static_cast<int>(__reduce_add_sync(mask, static_cast<unsigned>(value)));
}
inline unsigned __reduce_min_sync(unsigned mask, unsigned value) {
  using namespace perilune::kernels::cuda::emulator;
  return warp_word(Collective::minimum, mask, value);
}
inline unsigned __reduce_max_sync(unsigned mask, unsigned value) {
  using namespace perilune::kernels::cuda::emulator;
  return warp_word(Collective::maximum, mask, value);
}
inline int __reduce_min_sync(unsigned mask, int value) {
  using namespace perilune::kernels::cuda::emulator;
  return static_cast<int>(
      warp_word(Collective::minimum_signed, mask, static_cast<std::uint32_t>(value)));
}
inline int __reduce_max_sync(unsigned mask, int value) {
  using namespace perilune::kernels::cuda::emulator;
  return static_cast<int>(
      warp_word(Collective::maximum_signed, mask, static_cast<std::uint32_t>(value)));
}

inline unsigned __float_as_uint(float x) {
  return std::bit_cast<unsigned>(x);
}
inline float __uint_as_float(unsigned x) {
  return std::bit_cast<float>(x);
}
inline int __float_as_int(float x) {
  return std::bit_cast<int>(x);
}
inline float __int_as_float(int x) {
  return std::bit_cast<float>(x);
}
template <class T>
T __ldg(const T* pointer) {
  return *pointer;
}
/// From where all blocks of a GPU see what others stored.
template <class T>
T __ldcg(const T* pointer) {
  return *pointer;
}
// Blocks run one after the other here.
inline void __threadfence() {}
inline unsigned atomicAdd(unsigned* to, unsigned value) {
  const unsigned before = *to;
  *to = before + value;
  return before;
}
inline float rsqrtf(float x) {
  return 1.0f / std::sqrt(x);
}
using std::fmaf;  // and the other names of <cmath>
using std::max;
using std::min;
