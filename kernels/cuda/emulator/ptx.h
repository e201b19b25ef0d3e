// The C++ twins of ptx.h.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/cuda/emulator/block.h"

namespace perilune::kernels::cuda::ptx {

using emulator::Block;
using emulator::Collective;

template <class T>
void copy_async_16(shared_array<T> to, int index, const void* from, bool valid) {
  Block& block = Block::current();
  constexpr auto kElements = static_cast<std::int64_t>(16 / sizeof(T));
  const std::size_t at = to.offset(index, kElements, 16);
  if (valid && reinterpret_cast<std::uintptr_t>(from) % 16 != 0) {
    block.fail("cp.async: the source is not at a multiple of 16 bytes");
  }
  if (!block.shared().begin_copy(at, 16, block.stamp()))
    block.fail("cp.async to shared byte %zu: %s", at, block.shared().problem().c_str());
  emulator::Thread& thread = block.thread();
  thread.copies.push_back({at, from, valid ? std::size_t{16} : std::size_t{0}, 16, thread.groups});
}

inline void copy_async_commit() {
  ++Block::current().thread().groups;
}

template <int N>
void copy_async_wait() {
  Block& block = Block::current();
  emulator::Thread& thread = block.thread();
  std::size_t done = 0;
  while (done < thread.copies.size() && thread.copies[done].group + N < thread.groups) {
    block.shared().finish_copy(thread.copies[done++], block.stamp());
  }
  thread.copies.erase(thread.copies.begin(),
                      thread.copies.begin() + static_cast<std::ptrdiff_t>(done));
}

namespace detail {

inline void load_matrix(Collective kind, std::uint32_t (&out)[4], shared_array<bf16> from,
                        int index) {
  Block& block = Block::current();
  const std::size_t at = from.offset(index, 8, 16);
  if (!block.shared().read(block.thread().in, at, 16, block.stamp()))
    block.fail("ldmatrix, shared byte %zu: %s", at, block.shared().problem().c_str());
  block.collective(kind, kFullMask);
  std::memcpy(out, block.thread().out, sizeof out);
}

template <class T>
void multiply(Collective kind, T (&c)[4], const std::uint32_t (&a)[4],
              const std::uint32_t (&b)[2]) {
  Block& block = Block::current();
  std::uint32_t* in = block.thread().in;
  std::memcpy(in, a, sizeof a);
  std::memcpy(in + 4, b, sizeof b);
  std::memcpy(in + 6, c, sizeof c);
  block.collective(kind, kFullMask);
  std::memcpy(c, block.thread().out, sizeof c);
}

}  // namespace detail

inline void load_matrix_x4(std::uint32_t (&out)[4], shared_array<bf16> from, int index) {
  detail::load_matrix(Collective::load_matrix, out, from, index);
}
inline void load_matrix_x4_transposed(std::uint32_t (&out)[4], shared_array<bf16> from, int index) {
  detail::load_matrix(Collective::load_matrix_transposed, out, from, index);
}
inline std::uint32_t transpose_8x8(std::uint32_t matrix) {
  return emulator::warp_word(Collective::transpose, kFullMask, matrix);
}
inline void mma_bf16(float (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  detail::multiply(Collective::mma_bf16, c, a, b);
}
inline void mma_f16(float (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  detail::multiply(Collective::mma_f16, c, a, b);
}
inline void mma_int8(int (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  detail::multiply(Collective::mma_int8, c, a, b);
}

}  // namespace perilune::kernels::cuda::ptx
