// What the attention kernels share: a step's problem, where keys lie, scores, and the one order in
// which everything is summed, so that a token has the same bits whichever kernel computes it:
//
//   score s_j   dot(q, k_j), d ascending, fused; * scale, softcap, + bias
//   block       kKvBlock positions from position 0: m = max s_j, p_j = exp(s_j - m),
//               l = sum p_j (block_sum's tree over positions), o = sum p_j v_j, j ascending, fused
//   split       kSplitBlocks blocks from position 0: block partials merged ascending
//   total       split partials merged ascending; out = o / l
//
// Keys that a query does not see take no part: their values are not multiplied, even by zero.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/kv_rows.h"

namespace perilune::kernels::cuda {

inline constexpr int kBlockKeys = static_cast<int>(kKvBlock);
inline constexpr int kSplitBlocks = 8;
inline constexpr int kSplitKeys = kSplitBlocks * kBlockKeys;
static_assert(kBlockKeys == kWarp, "a warp holds the scores of a block");

/// AttentionArguments as kernels take them.
struct AttentionProblem {
  const DeviceRows* rows;
  const float* q;
  float* out;
  std::int64_t page_offset;
  int heads, kv_heads, group, head_dim, page_tokens;
  int causal, window;  // window 0: none
  float scale, softcap;
  const float* bias;
  std::int64_t bias_first, bias_count;
  float* partials;  // [token of few, head, split, head_dim + 2]: values, maximum, sum
  int splits;       // of the longest sequence of few tokens
};

AttentionProblem problem_of(const AttentionArguments& a);

/// -infinity, the maximum of nothing.
__device__ __forceinline__ float nothing() {
  return __uint_as_float(0xff800000u);
}

/// Keys [begin, end).
struct VisibleKeys {
  int begin, end;
};
__device__ __forceinline__ VisibleKeys visible_keys(const AttentionProblem& p, int key_count,
                                                    int position) {
  VisibleKeys keys = {0, key_count};
  if (p.causal != 0) keys.end = min(keys.end, position + 1);
  if (p.window > 0) {
    keys.begin = max(0, position - p.window + 1);
    if (p.causal == 0) keys.end = min(keys.end, position + p.window);
  }
  keys.begin = min(keys.begin, keys.end);  // none: there may be no page where the window lies
  return keys;
}

/// Which of a block's positions are seen, one bit each.
__device__ __forceinline__ unsigned seen_bits(const VisibleKeys& keys, int block_begin) {
  const int low = max(0, keys.begin - block_begin), high = min(kWarp, keys.end - block_begin);
  if (low >= high) return 0;
  return (kFullMask << low) & (kFullMask >> (kWarp - high));
}

/// The keys of one block, [head_dim, kKvBlock], and its values, [kKvBlock, head_dim].
template <class T>
struct KvBlock {
  const T* keys;
  const T* values;
};
template <class T>
__device__ __forceinline__ KvBlock<T> kv_block(const AttentionProblem& p, void* const* pages,
                                               int kv_head, int position) {
  const void* const start = in_global(in_global(pages)[position / p.page_tokens]);
  const char* page = static_cast<const char*>(start) + p.page_offset;
  const std::int64_t head_block =
      position % p.page_tokens / kBlockKeys * p.kv_heads + kv_head;  // within the page
  const T* keys = reinterpret_cast<const T*>(page) + head_block * p.head_dim * kBlockKeys;
  return {keys, keys + static_cast<std::int64_t>(p.page_tokens) * p.kv_heads * p.head_dim};
}

/// The score of a dot product.
__device__ __forceinline__ float score_of(const AttentionProblem& p, float dot, int head, int key,
                                          int position) {
  float score = dot * p.scale;
  if (p.softcap > 0) score = p.softcap * tanhf(score / p.softcap);
  if (p.bias != nullptr) {
    std::int64_t entry = static_cast<std::int64_t>(key) - position - p.bias_first;
    if (entry < 0) entry = 0;
    if (entry >= p.bias_count) entry = p.bias_count - 1;
    score += p.bias[head * p.bias_count + entry];
  }
  return score;
}

/// The larger; NaN if either is.
__device__ __forceinline__ float larger(float a, float b) {
  return b > a || b != b ? b : a;
}

/// A partial of the softmax, without its values.
struct SoftmaxPart {
  float maximum, sum;
};

/// How two partials become one: values = old values * old_part + new values * new_part. Nothing
/// changes where the new one is empty.
struct Merge {
  float old_part, new_part;
  bool changed;
};
__device__ __forceinline__ Merge merge(SoftmaxPart& into, const SoftmaxPart& part) {
  if (part.maximum == nothing()) return {1.0f, 0.0f, false};
  const float merged = larger(into.maximum, part.maximum);  // a NaN is not nothing, and stays
  const Merge how = {expf(into.maximum - merged), expf(part.maximum - merged), true};
  into.sum = into.sum * how.old_part + part.sum * how.new_part;
  into.maximum = merged;
  return how;
}
__device__ __forceinline__ float merged_value(const Merge& how, float old_value, float new_value) {
  return how.changed ? old_value * how.old_part + new_value * how.new_part : old_value;
}

/// Values over their sum; zero where nothing was seen.
__device__ __forceinline__ float normalised(float value, float sum) {
  return sum == 0 ? 0.0f : value / sum;
}

}  // namespace perilune::kernels::cuda
