// Attention of sequences with few new tokens (generation): the keys of a sequence are spread over
// blocks, a split of positions each, and over warps, a KV block each; sums as in
// attention_device.h. Reads each key and value once for up to kQueries heads that share it. Where a
// sequence has few splits, the block that is the last to leave its own makes them one answer.
#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_join.h"

namespace perilune::kernels::cuda {
namespace {

constexpr int kThreads = kSplitBlocks * kWarp;

/// kCount consecutive elements as f32; zero behind the row's end. One load where aligned.
template <class T, int kCount>
__device__ __forceinline__ void load_values(float (&to)[kCount], const T* from, int left,
                                            bool aligned) {
  if (aligned && left >= kCount) {
    constexpr int kBytes = kCount * static_cast<int>(sizeof(T));
    struct alignas(kBytes < 16 ? kBytes : 16) Piece {
      T element[kCount];
    };
    const Piece piece = *reinterpret_cast<const Piece*>(from);
#pragma unroll
    for (int i = 0; i < kCount; ++i) to[i] = to_float(piece.element[i]);
    return;
  }
#pragma unroll
  for (int i = 0; i < kCount; ++i) to[i] = i < left ? to_float(from[i]) : 0.0f;
}

/// Adds q . k of this lane's position over all dimensions, ascending, for every query.
template <class T, int kQueries>
__device__ __forceinline__ void dot_keys(float (&dots)[kQueries], const shared_array<float>& q,
                                         const T* keys, int width, bool stored) {
  constexpr int kAhead = 16;
  const auto add = [&](int d, float key) {
    if constexpr (kQueries % 4 == 0) {
#pragma unroll
      for (int r = 0; r < kQueries; r += 4) {
        const float4 four = q.load4(d * kQueries + r);
        dots[r] = fmaf(four.x, key, dots[r]);
        dots[r + 1] = fmaf(four.y, key, dots[r + 1]);
        dots[r + 2] = fmaf(four.z, key, dots[r + 2]);
        dots[r + 3] = fmaf(four.w, key, dots[r + 3]);
      }
    } else {
#pragma unroll
      for (int r = 0; r < kQueries; ++r) dots[r] = fmaf(q[d * kQueries + r], key, dots[r]);
    }
  };
  int d = 0;
  for (; d + kAhead <= width; d += kAhead) {
    float ahead[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; ++i)
      ahead[i] = stored ? to_float(keys[(d + i) * kBlockKeys]) : 0.0f;
#pragma unroll
    for (int i = 0; i < kAhead; ++i) add(d + i, ahead[i]);
  }
  for (; d < width; ++d) add(d, stored ? to_float(keys[d * kBlockKeys]) : 0.0f);
}

/// What a block computes: some queries of a sequence and kv head, over one split.
struct Chunk {
  DeviceRow row;
  int kv_head, first, count;  // queries
  int split;
};
template <int kQueries>
__device__ __forceinline__ Chunk chunk_here(const AttentionProblem& p) {
  const DeviceRow row = in_global(p.rows->rows)[static_cast<int>(blockIdx.x) / p.splits];
  const int first = static_cast<int>(blockIdx.y) / p.kv_heads * kQueries;
  const int left = row.tokens <= kFewTokens ? static_cast<int>(row.tokens) * p.group - first : 0;
  return {row, static_cast<int>(blockIdx.y) % p.kv_heads, first, min(left, kQueries),
          static_cast<int>(blockIdx.x) % p.splits};
}
__device__ __forceinline__ VisibleKeys keys_of(const AttentionProblem& p, const Chunk& chunk,
                                               int r) {
  return visible_keys(p, static_cast<int>(chunk.row.key_count),
                      query_of(p, chunk.row, chunk.kv_head, chunk.first + r).position);
}
/// Whether any query has to do with the split. Queries stand in ascending order of position, so the
/// first and the last one enclose the others.
__device__ __forceinline__ bool concerned(const AttentionProblem& p, const Chunk& chunk) {
  const Splits low = splits_of(keys_of(p, chunk, 0));
  const Splits high = splits_of(keys_of(p, chunk, chunk.count - 1));
  return chunk.split >= min(low.first, high.first) && chunk.split <= max(low.last, high.last);
}

struct SplitMemory {
  shared_array<float> q;        // [dim, query]
  shared_array<float> weights;  // [warp, position, query]
  shared_array<float> values;   // [warp, query, dim]
  shared_array<float> parts;    // [query, warp]: maximum and sum of a block
  shared_array<float> scales;   // [query, warp]: old_part and new_part
  shared_array<float> merged;   // [query]: maximum and sum of the split
};
/// Of the values, whose place the last block takes for its joins.
template <int kDim, int kQueries>
inline constexpr int kValues = kSplitBlocks*(kQueries* kDim > 2 * kJoinedSplits
                                                 ? kQueries * kDim
                                                 : 2 * kJoinedSplits);
template <int kDim, int kQueries>
__host__ __device__ constexpr std::size_t split_memory_bytes() {
  return shared_bytes<float>(kDim * kQueries) + shared_bytes<float>(kThreads * kQueries) +
         shared_bytes<float>(kValues<kDim, kQueries>) +
         2 * shared_bytes<float>(kSplitBlocks * kQueries * 2) + shared_bytes<float>(kQueries * 2) +
         shared_bytes<unsigned>(1);
}

/// The softmax of one block, this warp's: a lane a position. Leaves the weights in shared memory
/// and clears the bits of queries whose scores are all -infinity.
template <int kQueries>
__device__ __forceinline__ void weigh_keys(const AttentionProblem& p, const Chunk& chunk,
                                           const float (&dots)[kQueries], int block_begin,
                                           unsigned (&seen)[kQueries],
                                           SoftmaxPart (&part)[kQueries],
                                           const shared_array<float>& weights) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
  for (int r = 0; r < kQueries; ++r) {
    const bool sees = (seen[r] >> lane & 1) != 0;
    const Query query = query_of(p, chunk.row, chunk.kv_head, chunk.first + r);
    float score = nothing();
    if (sees) score = score_of(p, dots[r], query.head, block_begin + lane, query.position);
    part[r].maximum = block_maximum<kWarp>(score);
    const bool counts = sees && part[r].maximum != nothing();
    const float weight = counts ? expf(score - part[r].maximum) : 0.0f;
    part[r].sum = block_sum<kWarp>(weight);
    weights[static_cast<int>(threadIdx.x) * kQueries + r] = weight;
    if (part[r].maximum == nothing()) seen[r] = 0;
  }
  __syncwarp(kFullMask);
}

/// The weighted values of one block, this warp's: a lane kLaneDims dimensions, one position after
/// another.
template <class T, int kQueries, int kLaneDims>
__device__ __forceinline__ void weigh_values(float (&sums)[kQueries][kLaneDims], const T* values,
                                             int width, unsigned any,
                                             const unsigned (&seen)[kQueries],
                                             const shared_array<float>& weights) {
  constexpr int kAhead = kWarp / kLaneDims;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int dim = static_cast<int>(threadIdx.x) % kWarp * kLaneDims, left = width - dim;
  const bool aligned = width % kLaneDims == 0 && reinterpret_cast<std::uintptr_t>(values) % 16 == 0;
  for (int first = 0; first < kWarp; first += kAhead) {
    if ((any >> first & (kFullMask >> (kWarp - kAhead))) == 0) continue;
    float ahead[kAhead][kLaneDims];
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      const bool read = (any >> (first + j) & 1) != 0;
      load_values<T, kLaneDims>(ahead[j], values + (first + j) * width + dim, read ? left : 0,
                                aligned);
    }
#pragma unroll
    for (int j = 0; j < kAhead; ++j)
#pragma unroll
      for (int r = 0; r < kQueries; ++r) {
        if ((seen[r] >> (first + j) & 1) == 0) continue;
        const float weight = weights[(warp * kWarp + first + j) * kQueries + r];
#pragma unroll
        for (int i = 0; i < kLaneDims; ++i) sums[r][i] = fmaf(weight, ahead[j][i], sums[r][i]);
      }
  }
}

/// This warp's block of the split, to shared memory.
template <class T, int kDim, int kQueries>
__device__ __forceinline__ void attend_block(const AttentionProblem& p, const Chunk& chunk,
                                             const SplitMemory& memory) {
  constexpr int kLaneDims = kDim / kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int block_begin = chunk.split * kSplitKeys + warp * kBlockKeys;
  unsigned seen[kQueries], any = 0;
  SoftmaxPart part[kQueries];
  float sums[kQueries][kLaneDims] = {};
#pragma unroll
  for (int r = 0; r < kQueries; ++r) {
    part[r] = {nothing(), 0.0f};
    seen[r] = r < chunk.count ? seen_bits(keys_of(p, chunk, r), block_begin) : 0;
    any |= seen[r];
  }
  if (any != 0) {
    const KvBlock<T> block = kv_block<T>(p, chunk.row.pages, chunk.kv_head, block_begin);
    float dots[kQueries] = {};
    dot_keys<T, kQueries>(dots, memory.q, block.keys + lane, p.head_dim, (any >> lane & 1) != 0);
    weigh_keys<kQueries>(p, chunk, dots, block_begin, seen, part, memory.weights);
    weigh_values<T, kQueries, kLaneDims>(sums, block.values, p.head_dim, any, seen, memory.weights);
  }
#pragma unroll
  for (int r = 0; r < kQueries; ++r) {
    if (lane == 0) {
      memory.parts[(r * kSplitBlocks + warp) * 2] = part[r].maximum;
      memory.parts[(r * kSplitBlocks + warp) * 2 + 1] = part[r].sum;
    }
#pragma unroll
    for (int i = 0; i < kLaneDims; ++i)
      memory.values[(warp * kQueries + r) * kDim + lane * kLaneDims + i] = sums[r][i];
  }
}

/// Blocks become a split, ascending; a query with one split is done.
template <int kDim, int kQueries>
__device__ __forceinline__ void merge_blocks(const AttentionProblem& p, const Chunk& chunk,
                                             const SplitMemory& memory) {
  const int thread = static_cast<int>(threadIdx.x), width = p.head_dim;
  if (thread < kQueries) {
    SoftmaxPart merged = {nothing(), 0.0f};
#pragma unroll
    for (int w = 0; w < kSplitBlocks; ++w) {
      const int at = (thread * kSplitBlocks + w) * 2;
      const Merge how = merge(merged, {memory.parts[at], memory.parts[at + 1]});
      memory.scales[at] = how.old_part;
      memory.scales[at + 1] = how.new_part;
    }
    memory.merged[2 * thread] = merged.maximum;
    memory.merged[2 * thread + 1] = merged.sum;
  }
  __syncthreads();
  for (int i = thread; i < chunk.count * width; i += kThreads) {
    const int r = i / width, d = i % width;
    const Splits splits = splits_of(keys_of(p, chunk, r));
    if (chunk.split < splits.first || chunk.split > splits.last) continue;
    const Query query = query_of(p, chunk.row, chunk.kv_head, chunk.first + r);
    float value = 0;
#pragma unroll
    for (int w = 0; w < kSplitBlocks; ++w) {
      const int at = (r * kSplitBlocks + w) * 2;
      const Merge how = {memory.scales[at], memory.scales[at + 1], memory.parts[at] != nothing()};
      value = merged_value(how, value, memory.values[(w * kQueries + r) * kDim + d]);
    }
    const float maximum = memory.merged[2 * r], sum = memory.merged[2 * r + 1];
    if (splits.first == splits.last) {
      p.out[query.at + d] = normalised(value, sum);
      continue;
    }
    float* partial = p.partials + (query.slot * p.splits + chunk.split) * (width + 2);
    partial[d] = value;
    if (d != 0) continue;
    partial[width] = maximum;
    partial[width + 1] = sum;
  }
}

/// Blocks a multiprocessor: what registers allow without spilling.
template <int kDim, int kQueries>
[[maybe_unused]] inline constexpr int kBlocks = kQueries == 1 ? 3
                                                              : (kDim > 1024 / kQueries ? 1 : 2);

template <class T, int kDim, int kQueries>
__global__ void __launch_bounds__(kThreads, (kBlocks<kDim, kQueries>))
    attention_split_kernel(AttentionProblem p) {
  static_assert(shared_fits(split_memory_bytes<kDim, kQueries>(), kBlocks<kDim, kQueries>));
  const Chunk chunk = chunk_here<kQueries>(p);
  const bool joins = p.splits > 1 && p.splits <= kJoinedSplits;
  const bool works = chunk.count > 0 && concerned(p, chunk);
  if (!works && !joins) return;
  SharedArena arena;
  SplitMemory memory;
  memory.q = arena.take<float>(kDim * kQueries);
  memory.weights = arena.take<float>(kThreads * kQueries);
  memory.values = arena.take<float>(kValues<kDim, kQueries>);
  memory.parts = arena.take<float>(kSplitBlocks * kQueries * 2);
  memory.scales = arena.take<float>(kSplitBlocks * kQueries * 2);
  memory.merged = arena.take<float>(kQueries * 2);
  const auto last = arena.take<unsigned>(1);
  if (works) {
    for (int i = static_cast<int>(threadIdx.x); i < p.head_dim * kQueries; i += kThreads) {
      const int r = i / p.head_dim, d = i % p.head_dim;
      const Query query = query_of(p, chunk.row, chunk.kv_head, chunk.first + r);
      memory.q[d * kQueries + r] = r < chunk.count ? p.q[query.at + d] : 0.0f;
    }
    __syncthreads();
    attend_block<T, kDim, kQueries>(p, chunk, memory);
    __syncthreads();
    merge_blocks<kDim, kQueries>(p, chunk, memory);
  }
  if (!joins || !is_last(p, chunk.kv_head, last)) return;
  join_splits(p, chunk.row, chunk.kv_head, kSplitBlocks, memory.values);
}

/// The longest of the sequences with few tokens.
struct Few {
  std::int64_t tokens = 0, longest = 0, keys = 0;
};
Few few_of(const KvRow* rows, std::int64_t count) {
  Few few;
  for (std::int64_t r = 0; r < count; ++r) {
    if (rows[r].tokens > kFewTokens) continue;
    few.tokens += rows[r].tokens;
    few.longest = rows[r].tokens > few.longest ? rows[r].tokens : few.longest;
    few.keys = rows[r].key_count > few.keys ? rows[r].key_count : few.keys;
  }
  return few;
}

std::int64_t splits_for(std::int64_t keys) {
  return keys <= kSplitKeys ? 1 : (keys + kSplitKeys - 1) / kSplitKeys;
}

template <class T, int kDim, int kQueries>
void run(const Launch& on, const AttentionProblem& p, std::int64_t rows, std::int64_t longest) {
  const std::int64_t chunks = (longest * p.group + kQueries - 1) / kQueries;
  // Most blocks along x, the axis without a practical limit: 256 threads, a warp a KV block.
  launch(on, "attention_split",
         {dim3(static_cast<unsigned>(rows * p.splits), static_cast<unsigned>(chunks * p.kv_heads)),
          dim3(kThreads), split_memory_bytes<kDim, kQueries>()},
         attention_split_kernel<T, kDim, kQueries>, p);
}

template <class T, int kDim>
void run_queries(const Launch& on, const AttentionProblem& p, std::int64_t rows,
                 std::int64_t longest) {
  const std::int64_t queries = longest * p.group;
  if (queries == 1) return run<T, kDim, 1>(on, p, rows, longest);
  if (queries <= 4) return run<T, kDim, 4>(on, p, rows, longest);
  run<T, kDim, 8>(on, p, rows, longest);
}

template <class T>
void run_dims(const Launch& on, const AttentionProblem& p, std::int64_t rows,
              std::int64_t longest) {
  if (p.head_dim <= 64) return run_queries<T, 64>(on, p, rows, longest);
  if (p.head_dim <= 128) return run_queries<T, 128>(on, p, rows, longest);
  run_queries<T, kMostHeadDim>(on, p, rows, longest);
}

}  // namespace

std::size_t few_attention_scratch(const AttentionArguments& a) {
  const Few few = few_of(a.rows, a.row_count);
  const std::int64_t splits = splits_for(few.keys);
  if (splits == 1) return 0;
  return static_cast<std::size_t>(few.tokens * a.heads * splits * (a.layout.head_dim + 2)) *
         sizeof(float);
}

void few_attention(const Launch& on, const AttentionArguments& a) {
  const Few few = few_of(a.rows, a.row_count);
  if (few.tokens == 0) return;
  AttentionProblem p = problem_of(a);
  p.splits = static_cast<int>(splits_for(few.keys));
  p.partials = static_cast<float*>(on.scratch);
  switch (a.layout.dtype) {
    case DType::f16: run_dims<f16>(on, p, a.row_count, few.longest); break;
    case DType::bf16: run_dims<bf16>(on, p, a.row_count, few.longest); break;
    default: run_dims<float>(on, p, a.row_count, few.longest); break;
  }
  if (p.splits <= kJoinedSplits) return;
  combine_splits(on, p, few.tokens * a.heads);
}

}  // namespace perilune::kernels::cuda
