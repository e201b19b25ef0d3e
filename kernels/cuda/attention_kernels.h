// The two attention kernels behind attention.h's entry; device functions that both use.
#pragma once

#include "kernels/cuda/attention_device.h"

namespace perilune::kernels::cuda {

/// Over the positions of a block, held by kLanes lanes (kWarp, or half a warp whose lanes have
/// joined positions j and j + 16): the largest, NaN if any is; every lane has it.
template <int kLanes>
__device__ __forceinline__ float block_maximum(float score) {
#pragma unroll
  for (int apart = kLanes / 2; apart > 0; apart /= 2)
    score = larger(score, __shfl_xor_sync(kFullMask, score, apart));
  return score;
}
/// The sum by a tree: first positions 16 apart, then 8, 4, 2, 1; every lane has it.
template <int kLanes>
__device__ __forceinline__ float block_sum(float weight) {
#pragma unroll
  for (int apart = kLanes / 2; apart > 0; apart /= 2)
    weight += __shfl_xor_sync(kFullMask, weight, apart);
  return weight;
}

/// The splits in which a query sees keys; split 0 where it sees none.
struct Splits {
  int first, last;
};
__device__ __forceinline__ Splits splits_of(const VisibleKeys& keys) {
  if (keys.begin == keys.end) return {0, 0};
  return {keys.begin / kSplitKeys, (keys.end - 1) / kSplitKeys};
}

/// The splits of each of `queries` queries (token and head) become its answer.
void combine_splits(const Launch& on, const AttentionProblem& p, std::int64_t queries);

/// Sequences of at most kFewTokens tokens (the others are left alone).
std::size_t few_attention_scratch(const AttentionArguments& a);
void few_attention(const Launch& on, const AttentionArguments& a);
/// Sequences of more than kFewTokens tokens (the others are left alone).
void tile_attention(const Launch& on, const AttentionArguments& a);

}  // namespace perilune::kernels::cuda
