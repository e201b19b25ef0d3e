// The PTX that kernels use, one wrapper an instruction; the emulator has a twin of each
// (emulator/ptx.h). PTX ISA 8.x; all of it exists from sm_80 on.
#pragma once

#include <cstdint>

#include "kernels/cuda/shared_array.h"
#include "kernels/cuda/types.h"

#ifdef PERILUNE_EMULATOR
#include "kernels/cuda/emulator/ptx.h"
#else

namespace perilune::kernels::cuda::ptx {

template <class T>
__device__ __forceinline__ unsigned shared_address(shared_array<T> array, int index) {
  return static_cast<unsigned>(__cvta_generic_to_shared(array.data() + index));
}

/// Sixteen bytes from global to shared memory, both 16-byte aligned; zeros where not `valid`. They
/// are there after copy_async_wait, for other threads after a barrier too.
template <class T>
__device__ __forceinline__ void copy_async_16(shared_array<T> to, int index, const void* from,
                                              bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(shared_address(to, index)),
               "l"(__cvta_generic_to_global(from)), "r"(valid ? 16 : 0)
               : "memory");
}
/// Ends a group of copies.
__device__ __forceinline__ void copy_async_commit() {
  asm volatile("cp.async.commit_group;\n" ::: "memory");
}
/// Waits for all of this thread's groups but the last `N`.
template <int N>
__device__ __forceinline__ void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(N) : "memory");
}

/// Four 8x8 matrices of 16-bit elements; lane 8m + r gives the row r of matrix m (eight elements
/// from `index` on, 16-byte aligned). out[m]: row lane / 4, elements lane % 4 * 2 and the next.
__device__ __forceinline__ void load_matrix_x4(std::uint32_t (&out)[4], shared_array<bf16> from,
                                               int index) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(shared_address(from, index))
               : "memory");
}
__device__ __forceinline__ void load_matrix_x4_transposed(std::uint32_t (&out)[4],
                                                          shared_array<bf16> from, int index) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(shared_address(from, index))
               : "memory");
}
/// An 8x8 matrix of 16-bit elements, spread as load_matrix does, transposed.
__device__ __forceinline__ std::uint32_t transpose_8x8(std::uint32_t matrix) {
  std::uint32_t out;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;\n" : "=r"(out) : "r"(matrix));
  return out;
}

/// c[16, 8] += a[16, 16] * b[16, 8], f32 sums.
__device__ __forceinline__ void mma_bf16(float (&c)[4], const std::uint32_t (&a)[4],
                                         const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};\n"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void mma_f16(float (&c)[4], const std::uint32_t (&a)[4],
                                        const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};\n"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/// c[16, 8] += a[16, 32] * b[32, 8], exact in 32 bits.
__device__ __forceinline__ void mma_int8(int (&c)[4], const std::uint32_t (&a)[4],
                                         const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};\n"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

}  // namespace perilune::kernels::cuda::ptx

#endif
