// The entries of KernelTable around keys, values and attention. `device_rows` must be set where
// there are rows (kv_rows.h); see kernels/kernel_table.h for what each computes.
#pragma once

#include <cstddef>

#include "kernels/kernel_table.h"

namespace perilune::kernels::cuda {

/// What a warp's registers and a block's shared memory are laid out for.
inline constexpr std::int64_t kMostHeadDim = 256;

void rope_table(const Launch& on, const RopeTableArguments& a);
void rope(const Launch& on, const RopeArguments& a);
std::size_t kv_rows_bytes(const KvLayout& layout, const KvRow* rows, std::int64_t count);
void kv_rows_stage(const KvLayout& layout, const KvRow* rows, std::int64_t count, void* host,
                   const void* device);
void kv_write(const Launch& on, const KvWriteArguments& a);
std::size_t attention_scratch(const AttentionArguments& a, int threads);
void attention(const Launch& on, const AttentionArguments& a);
void attention_weights(const Launch& on, const AttentionWeightsArguments& a);

}  // namespace perilune::kernels::cuda
