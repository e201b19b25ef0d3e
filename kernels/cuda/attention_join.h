// How the blocks that had one sequence's splits of keys leave one answer, without a kernel of its
// own: each counts itself where all see it, and the one that is last goes on with what they stored.
#pragma once

#include "kernels/cuda/attention_kernels.h"

namespace perilune::kernels::cuda {

/// A query of the chunk that a block computes: token index * group + head of the group.
struct Query {
  int head, position;
  std::int64_t slot;  // of [few token, head]
  std::int64_t at;    // first element in q and out
};
__device__ __forceinline__ Query query_of(const AttentionProblem& p, const DeviceRow& row,
                                          int kv_head, int index) {
  const int token = index / p.group;
  Query query;
  query.head = kv_head * p.group + index % p.group;
  query.position = static_cast<int>(row.first_position) + token;
  query.slot = (row.few_before + token) * p.heads + query.head;
  query.at = ((row.first_token + token) * p.heads + query.head) * p.head_dim;
  return query;
}

/// Up to so many splits become the answer in the block that is done last; more have a kernel of
/// their own (attention_combine.cu), where more threads read them.
inline constexpr int kJoinedSplits = 2 * kWarp;

/// Whether all blocks of this sequence and kv head have stored their splits; true in one of them,
/// which then sees what they stored.
__device__ __forceinline__ bool is_last(const AttentionProblem& p, int kv_head,
                                        const shared_array<unsigned>& answer) {
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    const unsigned row = blockIdx.x / static_cast<unsigned>(p.splits);
    unsigned* const arrived = in_global(p.rows->arrived) + row * p.kv_heads + kv_head;
    const unsigned all = static_cast<unsigned>(p.splits) * (gridDim.y / p.kv_heads);
    const bool last = atomicAdd(arrived, 1) + 1 == all;
    if (last) *arrived = 0;  // for the next kernel
    answer[0] = last ? 1 : 0;
  }
  __syncthreads();
  __threadfence();
  return answer[0] != 0;
}

/// One query's splits become its answer, ascending: a warp. `scales`: [split, 2] of this warp.
/// The maxima up to each split are a scan, so that no load waits for the split before it
/// (attention_combine.cu does the same with more threads, and gives the same bits).
__device__ __forceinline__ void join_query(const AttentionProblem& p, const Query& query,
                                           const Splits& splits,
                                           const shared_array<float>& scales) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, width = p.head_dim;
  const std::int64_t stride = width + 2;
  const float* first = p.partials + (query.slot * p.splits + splits.first) * stride;
  const int count = splits.last + 1 - splits.first;
  float sum = 0.0f, running = nothing();
  for (int from = 0; from < count; from += kWarp) {
    const bool holds = from + lane < count;
    const float* part = first + (from + lane) * stride + width;
    const float maximum = holds ? __ldcg(part) : nothing();
    const float part_sum = holds ? __ldcg(part + 1) : 0.0f;
    float reached = maximum;
#pragma unroll
    for (int apart = 1; apart < kWarp; apart *= 2) {
      const float before = __shfl_up_sync(kFullMask, reached, static_cast<unsigned>(apart));
      if (lane >= apart) reached = larger(before, reached);
    }
    reached = larger(running, reached);
    const float before = __shfl_up_sync(kFullMask, reached, 1);
    SoftmaxPart total = {lane == 0 ? running : before, 0.0f};
    const Merge how = merge(total, {maximum, 0.0f});
    if (holds) {
      scales[(from + lane) * 2] = how.changed ? how.old_part : 1.0f;
      scales[(from + lane) * 2 + 1] = how.changed ? how.new_part : nothing();
    }
    for (int s = 0; s < min(kWarp, count - from); ++s) {
      const Merge step = {__shfl_sync(kFullMask, how.old_part, s),
                          __shfl_sync(kFullMask, how.new_part, s),
                          __shfl_sync(kFullMask, how.changed ? 1 : 0, s) != 0};
      sum = merged_value(step, sum, __shfl_sync(kFullMask, part_sum, s));
    }
    running = __shfl_sync(kFullMask, reached, kWarp - 1);
  }
  __syncwarp(kFullMask);
  for (int d = lane; d < width; d += kWarp) {
    float value = 0.0f;
#pragma unroll 8
    for (int s = 0; s < count; ++s) {
      const float new_part = scales[s * 2 + 1];
      const Merge step = {scales[s * 2], new_part, new_part != nothing()};
      value = merged_value(step, value, __ldcg(first + s * stride + d));
    }
    p.out[query.at + d] = normalised(value, sum);
  }
  __syncwarp(kFullMask);
}

/// All queries of this sequence and kv head that have several splits, by a block of `warps` warps.
/// `scales`: 2 * kJoinedSplits a warp.
__device__ __forceinline__ void join_splits(const AttentionProblem& p, const DeviceRow& row,
                                            int kv_head, int warps,
                                            const shared_array<float>& scales) {
  const int queries = row.tokens <= kFewTokens ? static_cast<int>(row.tokens) * p.group : 0;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  for (int index = warp; index < queries; index += warps) {
    const Query query = query_of(p, row, kv_head, index);
    const Splits splits =
        splits_of(visible_keys(p, static_cast<int>(row.key_count), query.position));
    if (splits.first == splits.last) continue;  // written already
    join_query(p, query, splits, scales.from(warp * kJoinedSplits * 2));
  }
}

}  // namespace perilune::kernels::cuda
