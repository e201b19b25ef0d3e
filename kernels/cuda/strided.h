// Tensors of up to six axes with any strides, walked by flat index: the host merges the axes that
// all operands allow to merge, a thread turns an index into one offset for each operand.
#pragma once

#include <limits>

#include "kernels/cuda/cuda.h"

namespace perilune::kernels::cuda {

/// Constants, because device code may not call a host's constexpr functions.
template <class Integer>
inline constexpr Integer kLowestOf = std::numeric_limits<Integer>::min();
template <class Integer>
inline constexpr Integer kHighestOf = std::numeric_limits<Integer>::max();

/// `Operands` tensors of one shape; a kernel's argument.
template <int Operands>
struct Walk {
  int rank;            // at least 1
  std::int64_t count;  // elements
  std::int64_t sizes[kMaxAxes];
  std::int64_t strides[Operands][kMaxAxes];
  void* data[Operands];
  DType dtypes[Operands];

  /// Elements from data[i] to the element at `index`, for each operand.
  __device__ __forceinline__ void offsets(std::int64_t index,
                                          std::int64_t (&offset)[Operands]) const {
    for (int i = 0; i < Operands; ++i) offset[i] = 0;
    if (count <= kHighestOf<std::uint32_t>) {  // divisions of half the length
      split(static_cast<std::uint32_t>(index), offset);
    } else {
      split(static_cast<std::uint64_t>(index), offset);
    }
  }

 private:
  template <class Index>
  __device__ __forceinline__ void split(Index rest, std::int64_t (&offset)[Operands]) const {
#pragma unroll
    for (int axis = kMaxAxes - 1; axis > 0; --axis) {
      if (axis >= rank) continue;
      const Index size = static_cast<Index>(sizes[axis]), outer = rest / size;
      const auto at = static_cast<std::int64_t>(rest - outer * size);
      for (int i = 0; i < Operands; ++i) offset[i] += at * strides[i][axis];
      rest = outer;
    }
    for (int i = 0; i < Operands; ++i) offset[i] += static_cast<std::int64_t>(rest) * strides[i][0];
  }
};

/// Axes [first, last) of `operands`, merged where every operand allows it.
template <int Operands>
Walk<Operands> walk_of(const std::int64_t* sizes, int first, int last,
                       const Strided* const (&operands)[Operands]) {
  Walk<Operands> walk{};
  walk.count = 1;
  for (int i = 0; i < Operands; ++i) {
    walk.data[i] = operands[i]->data;
    walk.dtypes[i] = operands[i]->dtype;
  }
  for (int axis = first; axis < last; ++axis) {
    walk.count *= sizes[axis];
    if (sizes[axis] == 1) continue;
    bool merge = walk.rank > 0;
    for (int i = 0; i < Operands && merge; ++i)
      merge = walk.strides[i][walk.rank - 1] == sizes[axis] * operands[i]->strides[axis];
    if (merge) {
      walk.sizes[walk.rank - 1] *= sizes[axis];
    } else {
      walk.sizes[walk.rank++] = sizes[axis];
    }
    for (int i = 0; i < Operands; ++i) walk.strides[i][walk.rank - 1] = operands[i]->strides[axis];
  }
  if (walk.rank == 0) {
    walk.rank = 1;
    walk.sizes[0] = 1;
  }
  return walk;
}

/// All operands f32 and without gaps.
template <int Operands>
bool is_dense_float(const Walk<Operands>& walk) {
  for (int i = 0; i < Operands; ++i) {
    const bool dense = walk.strides[i][0] == 1 || walk.count <= 1;
    if (walk.dtypes[i] != DType::f32 || walk.rank != 1 || !dense) return false;
  }
  return true;
}

template <class... Pointers>
bool are_aligned(std::uintptr_t bytes, Pointers... pointers) {
  return ((reinterpret_cast<std::uintptr_t>(pointers) % bytes == 0) && ...);
}

/// The element at `at`, as f32 or i64.
template <class To>
__device__ __forceinline__ To load_as(const void* data, DType dtype, std::int64_t at) {
  switch (dtype) {
    case DType::f32: return static_cast<To>(static_cast<const float*>(data)[at]);
    case DType::f16: return static_cast<To>(to_float(static_cast<const f16*>(data)[at]));
    case DType::bf16: return static_cast<To>(to_float(static_cast<const bf16*>(data)[at]));
    case DType::i32: return static_cast<To>(static_cast<const std::int32_t*>(data)[at]);
    case DType::i64: return static_cast<To>(static_cast<const std::int64_t*>(data)[at]);
    case DType::u8: return static_cast<To>(static_cast<const std::uint8_t*>(data)[at]);
    case DType::i8: return static_cast<To>(static_cast<const std::int8_t*>(data)[at]);
    case DType::boolean:
      return static_cast<To>(static_cast<const std::uint8_t*>(data)[at] != 0 ? 1 : 0);
  }
  return To{};
}

/// Toward zero; what does not fit goes to the nearest end, NaN to 0.
template <class Integer>
__device__ __forceinline__ Integer to_integer(float value) {
  constexpr Integer kLowest = kLowestOf<Integer>, kHighest = kHighestOf<Integer>;
  if (value != value) return 0;
  if (value <= static_cast<float>(kLowest)) return kLowest;
  if (value >= static_cast<float>(kHighest)) return kHighest;
  return static_cast<Integer>(value);
}
template <class Integer>
__device__ __forceinline__ Integer to_integer(std::int64_t value) {
  return static_cast<Integer>(value);
}

/// Stores an f32 or i64 as the element at `at`.
template <class From>
__device__ __forceinline__ void store_as(void* data, DType dtype, std::int64_t at, From value) {
  const auto number = static_cast<float>(value);
  switch (dtype) {
    case DType::f32: static_cast<float*>(data)[at] = number; break;
    case DType::f16: static_cast<f16*>(data)[at] = to_f16(number); break;
    case DType::bf16: static_cast<bf16*>(data)[at] = to_bf16(number); break;
    case DType::i32: static_cast<std::int32_t*>(data)[at] = to_integer<std::int32_t>(value); break;
    case DType::i64: static_cast<std::int64_t*>(data)[at] = to_integer<std::int64_t>(value); break;
    case DType::u8: static_cast<std::uint8_t*>(data)[at] = to_integer<std::uint8_t>(value); break;
    case DType::i8: static_cast<std::int8_t*>(data)[at] = to_integer<std::int8_t>(value); break;
    case DType::boolean:
      static_cast<std::uint8_t*>(data)[at] = static_cast<std::uint8_t>(value != 0 ? 1 : 0);
      break;
  }
}

/// Elementwise kernels: a thread takes kPerThread elements, a block's length apart, so that a
/// warp's loads are adjacent and several are under way.
inline constexpr int kElementThreads = 256;
inline constexpr int kPerThread = 4;

inline LaunchConfig element_blocks(std::int64_t count) {
  constexpr std::int64_t kEach = kElementThreads * kPerThread;
  return {dim3(static_cast<unsigned>((count + kEach - 1) / kEach)), dim3(kElementThreads)};
}

/// Calls body(index) for this thread's elements below `count`.
template <class Body>
__device__ __forceinline__ void each_element(std::int64_t count, const Body& body) {
  const std::int64_t first =
      static_cast<std::int64_t>(blockIdx.x) * (kElementThreads * kPerThread) + threadIdx.x;
#pragma unroll
  for (int i = 0; i < kPerThread; ++i) {
    const std::int64_t index = first + i * kElementThreads;
    if (index < count) body(index);
  }
}

/// The same in two rounds, so that all loads are under way before the first store:
/// store(index, load(index)).
template <class Value, class Load, class Store>
__device__ __forceinline__ void move_elements(std::int64_t count, const Load& load,
                                              const Store& store) {
  Value held[kPerThread];
  const std::int64_t first =
      static_cast<std::int64_t>(blockIdx.x) * (kElementThreads * kPerThread) + threadIdx.x;
#pragma unroll
  for (int i = 0; i < kPerThread; ++i)
    if (first + i * kElementThreads < count) held[i] = load(first + i * kElementThreads);
#pragma unroll
  for (int i = 0; i < kPerThread; ++i)
    if (first + i * kElementThreads < count) store(first + i * kElementThreads, held[i]);
}

}  // namespace perilune::kernels::cuda
