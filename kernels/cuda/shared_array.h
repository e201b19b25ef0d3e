// Shared memory as kernels see it: pieces of the block's dynamic shared memory, taken in order.
//
//   SharedArena arena;                            // in the kernel, the same calls in every thread
//   auto tile = arena.take<float>(count);         // shared_array<float>
//   tile[i] = x;
//
// On a GPU tile[i] is a plain reference; in the emulator a proxy that checks bounds, reads of what
// was never written, and races (emulator/shared_memory.h).
#pragma once

#include <cstddef>
#include <cstdint>

namespace perilune::kernels::cuda {

/// What take<T>(count) uses; the sum over a kernel's takes is LaunchConfig::shared_bytes.
template <class T>
__host__ __device__ constexpr std::size_t shared_bytes(std::int64_t count) {
  const std::size_t bytes = (static_cast<std::size_t>(count) * sizeof(T) + 15) / 16 * 16;
#ifdef PERILUNE_EMULATOR
  return bytes + emulator::SharedMemory::kRedzone;
#else
  return bytes;
#endif
}

/// Whether `blocks` blocks with `bytes` of shared memory each run at once on a multiprocessor of
/// sm_80: 164 KiB, 1 KiB of each block is the system's; and one on sm_86, sm_89 and sm_120, where a
/// block has 99 KiB at most. __launch_bounds__ sees to the registers of as many.
__host__ __device__ constexpr bool shared_fits([[maybe_unused]] std::size_t bytes,
                                               [[maybe_unused]] int blocks) {
#ifdef PERILUNE_EMULATOR
  return true;  // red zones count there
#else
  return bytes <= std::size_t{99} * 1024 &&
         static_cast<std::size_t>(blocks) * (bytes + 1024) <= std::size_t{164} * 1024;
#endif
}

#ifdef PERILUNE_EMULATOR

template <class T>
class SharedReference {
 public:
  explicit SharedReference(std::size_t at) : at_(at) {}
  operator T() const {
    T value;
    emulator::Block& block = emulator::Block::current();
    if (!block.shared().read(&value, at_, sizeof(T), block.stamp()))
      block.fail("shared byte %zu: %s", at_, block.shared().problem().c_str());
    return value;
  }
  SharedReference& operator=(T value) {
    emulator::Block& block = emulator::Block::current();
    if (!block.shared().write(at_, &value, sizeof(T), block.stamp()))
      block.fail("shared byte %zu: %s", at_, block.shared().problem().c_str());
    return *this;
  }
  SharedReference& operator=(const SharedReference& other) { return *this = static_cast<T>(other); }
  SharedReference(const SharedReference&) = default;
  SharedReference& operator+=(T value) { return *this = static_cast<T>(*this) + value; }
  SharedReference& operator-=(T value) { return *this = static_cast<T>(*this) - value; }
  SharedReference& operator*=(T value) { return *this = static_cast<T>(*this) * value; }

 private:
  std::size_t at_;
};

template <class T>
class shared_array {
 public:
  shared_array() = default;
  shared_array(std::size_t base, std::size_t count) : base_(base), count_(count) {}
  SharedReference<T> operator[](std::int64_t index) const {
    return SharedReference<T>(offset(index, 1));
  }
  int size() const { return static_cast<int>(count_); }
  /// The part from `index` on.
  shared_array from(std::int64_t index) const {
    if (index < 0 || index > static_cast<std::int64_t>(count_)) offset(index, 1);
    const auto skipped = static_cast<std::size_t>(index);
    return {base_ + skipped * sizeof(T), count_ - skipped};
  }
  /// Four floats at a multiple of four.
  float4 load4(std::int64_t index) const {
    static_assert(sizeof(T) == 4);
    float4 value;
    emulator::Block& block = emulator::Block::current();
    if (!block.shared().read(&value, offset(index, 4, 16), sizeof value, block.stamp()))
      block.fail("shared element %lld: %s", static_cast<long long>(index),
                 block.shared().problem().c_str());
    return value;
  }
  void store4(std::int64_t index, const float4& value) const {
    static_assert(sizeof(T) == 4);
    emulator::Block& block = emulator::Block::current();
    if (!block.shared().write(offset(index, 4, 16), &value, sizeof value, block.stamp()))
      block.fail("shared element %lld: %s", static_cast<long long>(index),
                 block.shared().problem().c_str());
  }
  /// The byte where `elements` of them begin; ends the launch when they are not all in the array or
  /// not at a multiple of `alignment` bytes.
  std::size_t offset(std::int64_t index, std::int64_t elements, std::size_t alignment = 1) const {
    const auto count = static_cast<std::int64_t>(count_);
    if (index < 0 || index > count - elements) {
      emulator::Block::current().fail("shared memory: element %lld of an array of %lld",
                                      static_cast<long long>(index), static_cast<long long>(count));
    }
    const std::size_t at = base_ + static_cast<std::size_t>(index) * sizeof(T);
    if (at % alignment != 0) {
      emulator::Block::current().fail(
          "shared memory: element %lld is not at a multiple of %zu bytes",
          static_cast<long long>(index), alignment);
    }
    return at;
  }

 private:
  std::size_t base_ = 0, count_ = 0;
};

class SharedArena {
 public:
  template <class T>
  shared_array<T> take(std::int64_t count) {
    const std::size_t begin = next_;
    next_ += shared_bytes<T>(count);
    emulator::Block& block = emulator::Block::current();
    if (count < 0 || next_ > block.shared().size()) {
      block.fail("shared memory: %zu bytes are taken and the launch gave %zu", next_,
                 block.shared().size());
    }
    return {begin, static_cast<std::size_t>(count)};
  }

 private:
  std::size_t next_ = 0;
};

#else

template <class T>
class shared_array {
 public:
  __device__ shared_array() : data_(nullptr), count_(0) {}
  __device__ shared_array(T* data, int count) : data_(data), count_(count) {}
  __device__ __forceinline__ T& operator[](std::int64_t index) const { return data_[index]; }
  __device__ __forceinline__ int size() const { return count_; }
  __device__ __forceinline__ shared_array from(std::int64_t index) const {
    return shared_array(data_ + index, count_ - static_cast<int>(index));
  }
  __device__ __forceinline__ float4 load4(std::int64_t index) const {
    return *reinterpret_cast<const float4*>(data_ + index);
  }
  __device__ __forceinline__ void store4(std::int64_t index, const float4& value) const {
    *reinterpret_cast<float4*>(data_ + index) = value;
  }
  __device__ __forceinline__ T* data() const { return data_; }

 private:
  T* data_;
  int count_;
};

class SharedArena {
 public:
  template <class T>
  __device__ __forceinline__ shared_array<T> take(std::int64_t count) {
    extern __shared__ __align__(128) unsigned char perilune_shared_memory[];
    T* begin = reinterpret_cast<T*>(perilune_shared_memory + next_);
    next_ += static_cast<unsigned>(shared_bytes<T>(count));
    return shared_array<T>(begin, static_cast<int>(count));
  }

 private:
  unsigned next_ = 0;
};

#endif

}  // namespace perilune::kernels::cuda
