// The sequences of a step as a device reads them: kernels/kernel_table.h keeps `KvRow`s and their
// page lists in host memory; kv_rows_stage writes one piece of bytes that holds the same, with the
// addresses it will have on the device.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/cuda.h"
#include "kernels/kernel_table.h"

namespace perilune::kernels::cuda {

/// Sequences of at most this many tokens take the attention that splits their keys over blocks.
inline constexpr std::int64_t kFewTokens = 8;

/// One sequence. Tokens are numbered through all rows in their order: ordinals. `pages` are those
/// of key_count positions, which includes what kv_write stores.
struct DeviceRow {
  std::int64_t first_token, tokens, first_position, key_count;  // as in KvRow
  std::int64_t tokens_before;                                   // ordinal of its first token
  std::int64_t few_before;  // tokens before it in rows of at most kFewTokens
  void* const* pages;       // device memory
};

/// What `device_rows` points to.
struct DeviceRows {
  std::int64_t count;
  const DeviceRow* rows;
  const std::int32_t* row_of_token;      // by ordinal, all tokens
  const std::int32_t* row_of_few_token;  // by ordinal among tokens of rows of at most kFewTokens
  unsigned* arrived;  // [row, kv_head]: blocks of a kernel that are done; 0 between kernels
};

/// A pointer found in memory, of which the compiler now knows that it leads to global memory: else
/// what is read through it waits for every store to shared memory before.
template <class T>
__device__ __forceinline__ T* in_global(T* pointer) {
#ifndef PERILUNE_EMULATOR
  __builtin_assume(__isGlobal(pointer));
#endif
  return pointer;
}

/// A token of a step: its row and its place there.
struct DeviceToken {
  DeviceRow row;
  std::int64_t index;
};
__device__ __forceinline__ DeviceToken token_at(const DeviceRows* rows, std::int64_t ordinal) {
  const DeviceRow row = in_global(rows->rows)[in_global(rows->row_of_token)[ordinal]];
  return {row, ordinal - row.tokens_before};
}
__device__ __forceinline__ DeviceToken few_token_at(const DeviceRows* rows, std::int64_t ordinal) {
  const DeviceRow row = in_global(rows->rows)[in_global(rows->row_of_few_token)[ordinal]];
  return {row, ordinal - row.few_before};
}

}  // namespace perilune::kernels::cuda
