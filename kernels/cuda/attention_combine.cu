// The last step of attention over few tokens: a query's splits become one answer.
#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_kernels.h"

namespace perilune::kernels::cuda {
namespace {

constexpr int kCombineThreads = 128;

/// How up to kCombineThreads splits are merged, in shared memory: a split a thread. The maxima up
/// to each split are a scan (the larger of floats is the same in any order), so that no load and no
/// exponential waits for the split before it.
struct SplitMerges {
  shared_array<float> maxima, scanned;  // [kCombineThreads], before and after a round
  shared_array<float> sums, old_parts, new_parts;
};

/// `running`: the maximum of all splits before these. Returns that with these.
__device__ __forceinline__ float merge_splits(SplitMerges& memory, const float* partials,
                                              std::int64_t stride, int count, float running) {
  const int thread = static_cast<int>(threadIdx.x);
  const float* part = partials + (thread < count ? thread * stride : 0);
  const float maximum = thread < count ? part[0] : nothing();
  memory.sums[thread] = thread < count ? part[1] : 0.0f;
  float reached = thread == 0 ? larger(running, maximum) : maximum;
  for (int apart = 1; apart < count; apart *= 2) {
    memory.scanned[thread] = reached;
    __syncthreads();
    if (thread >= apart) reached = larger(memory.scanned[thread - apart], reached);
    __syncthreads();
  }
  memory.scanned[thread] = reached;
  __syncthreads();
  const float before = thread == 0 ? running : static_cast<float>(memory.scanned[thread - 1]);
  SoftmaxPart total = {before, 0.0f};
  const Merge how = merge(total, {maximum, 0.0f});
  memory.old_parts[thread] = how.old_part;
  memory.new_parts[thread] = how.new_part;
  memory.maxima[thread] = maximum;
  __syncthreads();
  return memory.scanned[count - 1];
}

constexpr std::size_t combine_memory_bytes() {
  return 5 * shared_bytes<float>(kCombineThreads);
}

/// Splits become the answer, ascending: a block a token and head.
__global__ void __launch_bounds__(kCombineThreads) attention_combine_kernel(AttentionProblem p) {
  const DeviceToken token = few_token_at(p.rows, blockIdx.x / static_cast<unsigned>(p.heads));
  const int head = static_cast<int>(blockIdx.x % static_cast<unsigned>(p.heads));
  const int position = static_cast<int>(token.row.first_position + token.index);
  const int key_count = static_cast<int>(token.row.key_count), width = p.head_dim;
  const Splits splits = splits_of(visible_keys(p, key_count, position));
  if (splits.first == splits.last) return;  // written already
  const std::int64_t stride = width + 2;
  const float* partials = p.partials + static_cast<std::int64_t>(blockIdx.x) * p.splits * stride;
  SharedArena arena;
  SplitMerges memory;
  memory.maxima = arena.take<float>(kCombineThreads);
  memory.scanned = arena.take<float>(kCombineThreads);
  memory.sums = arena.take<float>(kCombineThreads);
  memory.old_parts = arena.take<float>(kCombineThreads);
  memory.new_parts = arena.take<float>(kCombineThreads);

  constexpr int kDims = kMostHeadDim / kCombineThreads;  // of a thread, kCombineThreads apart
  float values[kDims] = {}, running = nothing(), sum = 0;
  for (int from = splits.first; from <= splits.last; from += kCombineThreads) {
    const int count = min(kCombineThreads, splits.last + 1 - from);
    const float* first = partials + from * stride;
    running = merge_splits(memory, first + width, stride, count, running);
#pragma unroll 8
    for (int s = 0; s < count; ++s) {
      const Merge how = {memory.old_parts[s], memory.new_parts[s], memory.maxima[s] != nothing()};
      sum = merged_value(how, sum, memory.sums[s]);
#pragma unroll
      for (int i = 0; i < kDims; ++i) {
        const int d = static_cast<int>(threadIdx.x) + i * kCombineThreads;
        if (d < width) values[i] = merged_value(how, values[i], first[s * stride + d]);
      }
    }
    __syncthreads();  // the next splits' merges overwrite these
  }
  float* out = p.out + ((token.row.first_token + token.index) * p.heads + head) * width;
#pragma unroll
  for (int i = 0; i < kDims; ++i) {
    const int d = static_cast<int>(threadIdx.x) + i * kCombineThreads;
    if (d < width) out[d] = normalised(values[i], sum);
  }
}

}  // namespace

void combine_splits(const Launch& on, const AttentionProblem& p, std::int64_t queries) {
  launch(on, "attention_combine",
         {dim3(static_cast<unsigned>(queries)), dim3(kCombineThreads), combine_memory_bytes()},
         attention_combine_kernel, p);
}

}  // namespace perilune::kernels::cuda
