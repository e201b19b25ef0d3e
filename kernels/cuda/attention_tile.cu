// Attention of sequences with many new tokens (prompts, encoders), packed: a block computes a tile
// of one sequence's queries for one kv head, so that the heads of a group and neighbouring tokens
// share the keys and values it reads; sums as in attention_device.h.
//
// Threads form 16 x 16: a thread has kRows / 16 queries, and of a KV block's scores positions
// tx and tx + 16, of the values four dimensions in every 64. The total over splits is kept in
// `out`, which only this thread touches.
#include "kernels/cuda/attention_kernels.h"

namespace perilune::kernels::cuda {
namespace {

constexpr int kThreads = 256, kSide = 16;

/// Queries of a tile, by the padded head_dim: what registers and shared memory allow twice per
/// multiprocessor.
template <int kDim>
inline constexpr int kTileRows = kDim <= 128 ? 64 : 32;

/// A sequence's queries one after another: token * group + head of the group. `first` is the
/// tile's first; `count` of them are real.
struct Tile {
  DeviceRow row;
  int first, count;
};

/// Tile `index` of the step: sequence r has the tiles from queries_before(r) / kRows + r on, of
/// which it may leave the last ones empty.
template <int kRows>
__device__ __forceinline__ Tile tile_at(const AttentionProblem& p, std::int64_t index) {
  const auto first_tile = [&](std::int64_t r) {
    return in_global(p.rows->rows)[r].tokens_before * p.group / kRows + r;
  };
  std::int64_t low = 0, high = p.rows->count;  // first_tile(low) <= index < first_tile(high)
  while (high - low > 1) {
    const std::int64_t middle = (low + high) / 2;
    if (first_tile(middle) <= index) {
      low = middle;
    } else {
      high = middle;
    }
  }
  const DeviceRow row = in_global(p.rows->rows)[low];
  const std::int64_t first = (index - first_tile(low)) * kRows;
  const std::int64_t left = row.tokens <= kFewTokens ? 0 : row.tokens * p.group - first;
  return {row, static_cast<int>(first), static_cast<int>(left < kRows ? left : kRows)};
}

/// Where a tile's query begins in q and out.
__device__ __forceinline__ std::int64_t query_at(const AttentionProblem& p, const Tile& tile,
                                                 int kv_head, int m) {
  const int index = tile.first + m;
  return ((tile.row.first_token + index / p.group) * p.heads + kv_head * p.group +
          index % p.group) *
         p.head_dim;
}

/// The tile's queries to [dim, query] in shared memory, zero behind its end.
template <int kRows, int kStride>
__device__ __forceinline__ void load_queries(const AttentionProblem& p, const Tile& tile,
                                             int kv_head, const shared_array<float>& to) {
  constexpr int kWarps = kThreads / kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int m = warp; m < kRows; m += kWarps) {
    const float* q = p.q + (m < tile.count ? query_at(p, tile, kv_head, m) : 0);
    for (int d = lane; d < p.head_dim; d += kWarp)
      to[d * kStride + m] = m < tile.count ? q[d] : 0.0f;
  }
}

/// A KV block's keys widened to f32, [head_dim, kKvBlock]; zero where not `stored`.
template <class T>
__device__ __forceinline__ void load_keys(const T* from, int width, unsigned stored,
                                          const shared_array<float>& keys) {
  constexpr int kWarps = kThreads / kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const bool here = (stored >> lane & 1) != 0;
#pragma unroll 4
  for (int d = warp; d < width; d += kWarps)
    keys[d * kWarp + lane] = here ? to_float(from[d * kWarp + lane]) : 0.0f;
}

/// Its values, [kKvBlock, kDim], of the stored positions.
template <class T, int kDim>
__device__ __forceinline__ void load_values(const T* from, int width, unsigned stored,
                                            const shared_array<float>& values) {
  constexpr int kWarps = kThreads / kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
  for (int j = warp; j < kWarp; j += kWarps) {
    if ((stored >> j & 1) == 0) continue;
#pragma unroll
    for (int d = lane; d < kDim; d += kWarp)
      values[j * kDim + d] = d < width ? to_float(from[j * width + d]) : 0.0f;
  }
}

/// Consecutive elements of shared memory: kCount 2 or 4.
template <int kCount>
__device__ __forceinline__ void load_some(float (&to)[kCount], const shared_array<float>& from,
                                          int at) {
  if constexpr (kCount == 4) {
    const float4 four = from.load4(at);
    to[0] = four.x, to[1] = four.y, to[2] = four.z, to[3] = four.w;
  } else {
#pragma unroll
    for (int i = 0; i < kCount; ++i) to[i] = from[at + i];
  }
}

/// Weighted values of one block, positions ascending, for four dimensions from `dim` on. kAll:
/// every query sees every position.
template <int kDim, int kStride, bool kAll, int kCount>
__device__ __forceinline__ void weigh_values(float (&sums)[kCount][4],
                                             const unsigned (&seen)[kCount],
                                             const shared_array<float>& weights,
                                             const shared_array<float>& values, int dim, int ty) {
  unsigned any = kAll ? kFullMask : 0;
#pragma unroll
  for (int r = 0; r < kCount; ++r) any |= seen[r];
#pragma unroll 4
  for (int j = 0; j < kWarp; ++j) {
    if (!kAll && (any >> j & 1) == 0) continue;
    float weight[kCount], value[4];
    load_some<kCount>(weight, weights, j * kStride + ty * kCount);
    load_some<4>(value, values, j * kDim + dim);
#pragma unroll
    for (int r = 0; r < kCount; ++r) {
      if (!kAll && (seen[r] >> j & 1) == 0) continue;
#pragma unroll
      for (int c = 0; c < 4; ++c) sums[r][c] = fmaf(weight[r], value[c], sums[r][c]);
    }
  }
}

/// The sizes of a tile for a padded head_dim: queries and dimensions of a thread; queries apart in
/// shared memory, which keeps 16-byte pieces and spreads banks.
template <int kDim>
struct Sizes {
  static constexpr int kRows = kTileRows<kDim>, kCount = kRows / kSide, kDims = kDim / kSide;
  static constexpr int kStride = kRows + 4;
  // Values take the keys' place where both are too much for a block of sm_86 or sm_89.
  static constexpr bool kInTurn = kDim > 128;
  __host__ __device__ static constexpr std::size_t bytes() {
    return shared_bytes<float>(kDim * kStride) +
           (kInTurn ? 1 : 2) * shared_bytes<float>(kDim * kWarp) +
           shared_bytes<float>(kWarp * kStride) + shared_bytes<float>(kRows * 4) +
           shared_bytes<int>(kRows * 2);
  }
};

struct TileMemory {
  shared_array<float> q;        // [dim, query]
  shared_array<float> keys;     // [dim, position]
  shared_array<float> values;   // [position, dim]
  shared_array<float> weights;  // [position, query]
  shared_array<float> states;   // [query]: SoftmaxPart of the split, of the total
  shared_array<int> places;     // [query]: position, head
};

/// Queries behind the tile's end stand where its last one does and are not written.
template <int kDim>
__device__ __forceinline__ void begin_tile(const AttentionProblem& p, const Tile& tile, int kv_head,
                                           const TileMemory& memory) {
  constexpr int kRows = Sizes<kDim>::kRows;
  load_queries<kRows, Sizes<kDim>::kStride>(p, tile, kv_head, memory.q);
  const int m = static_cast<int>(threadIdx.x);
  if (m >= kRows) return;
  const int index = tile.first + min(m, tile.count - 1);
  memory.places[2 * m] = static_cast<int>(tile.row.first_position) + index / p.group;
  memory.places[2 * m + 1] = kv_head * p.group + index % p.group;
  memory.states.store4(m * 4, make_float4(nothing(), 0.0f, nothing(), 0.0f));
}

/// KV blocks [begin, end) that some query of the tile sees.
struct Blocks {
  int begin, end;
};
__device__ __forceinline__ Blocks blocks_of(const AttentionProblem& p, const Tile& tile) {
  const int key_count = static_cast<int>(tile.row.key_count);
  const int position = static_cast<int>(tile.row.first_position);
  const VisibleKeys low = visible_keys(p, key_count, position + tile.first / p.group);
  const VisibleKeys high =
      visible_keys(p, key_count, position + (tile.first + tile.count - 1) / p.group);
  return {min(low.begin, high.begin) / kBlockKeys,
          (max(low.end, high.end) + kBlockKeys - 1) / kBlockKeys};
}

/// dots[r][i]: query ty * kCount + r with position tx + i * kSide, dimensions ascending.
template <int kDim, int kCount>
__device__ __forceinline__ void dot_keys(float (&dots)[kCount][2], const TileMemory& memory,
                                         int width, int tx, int ty) {
#pragma unroll 4
  for (int d = 0; d < width; ++d) {
    float queries[kCount];
    load_some<kCount>(queries, memory.q, d * Sizes<kDim>::kStride + ty * kCount);
    const float low = memory.keys[d * kWarp + tx], high = memory.keys[d * kWarp + tx + kSide];
#pragma unroll
    for (int r = 0; r < kCount; ++r) {
      dots[r][0] = fmaf(queries[r], low, dots[r][0]);
      dots[r][1] = fmaf(queries[r], high, dots[r][1]);
    }
  }
}

/// The softmax of a block: weights to shared memory, the block's part, and which positions count.
template <int kDim, int kCount>
__device__ __forceinline__ void weigh_keys(const AttentionProblem& p, int key_count,
                                           int block_begin, const float (&dots)[kCount][2],
                                           unsigned (&seen)[kCount], SoftmaxPart (&part)[kCount],
                                           const TileMemory& memory, int tx, int ty) {
#pragma unroll
  for (int r = 0; r < kCount; ++r) {
    const int m = ty * kCount + r;
    const int position = memory.places[2 * m], head = memory.places[2 * m + 1];
    seen[r] = seen_bits(visible_keys(p, key_count, position), block_begin);
    float score[2], weight[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int j = tx + i * kSide;
      score[i] = (seen[r] >> j & 1) != 0 ? score_of(p, dots[r][i], head, block_begin + j, position)
                                         : nothing();
    }
    part[r].maximum = block_maximum<kSide>(larger(score[0], score[1]));
    if (part[r].maximum == nothing()) seen[r] = 0;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int j = tx + i * kSide;
      weight[i] = (seen[r] >> j & 1) != 0 ? expf(score[i] - part[r].maximum) : 0.0f;
      memory.weights[j * Sizes<kDim>::kStride + m] = weight[i];
    }
    part[r].sum = block_sum<kSide>(weight[0] + weight[1]);
  }
}

/// The block joins the split.
template <int kDim, int kCount, int kDims>
__device__ __forceinline__ void add_block(float (&sums)[kCount][kDims],
                                          const unsigned (&seen)[kCount],
                                          const SoftmaxPart (&part)[kCount],
                                          const TileMemory& memory, int tx, int ty) {
  constexpr int kStride = Sizes<kDim>::kStride;
  bool all = true;
  Merge how[kCount];
  SoftmaxPart split[kCount];
#pragma unroll
  for (int r = 0; r < kCount; ++r) {
    const int state = (ty * kCount + r) * 4;
    all = all && seen[r] == kFullMask;
    split[r] = {memory.states[state], memory.states[state + 1]};
    how[r] = merge(split[r], part[r]);
  }
  __syncwarp(kFullMask);  // a half warp reads the weights that it wrote, and writes its states
  if (tx == 0) {
#pragma unroll
    for (int r = 0; r < kCount; ++r) {
      memory.states[(ty * kCount + r) * 4] = split[r].maximum;
      memory.states[(ty * kCount + r) * 4 + 1] = split[r].sum;
    }
  }
#pragma unroll
  for (int i = 0; i < kDims; i += 4) {  // few at a time: registers
    float here[kCount][4] = {};
    const int dim = i * kSide + 4 * tx;
    if (all) {
      weigh_values<kDim, kStride, true, kCount>(here, seen, memory.weights, memory.values, dim, ty);
    } else {
      weigh_values<kDim, kStride, false, kCount>(here, seen, memory.weights, memory.values, dim,
                                                 ty);
    }
#pragma unroll
    for (int r = 0; r < kCount; ++r)
#pragma unroll
      for (int c = 0; c < 4; ++c) sums[r][i + c] = merged_value(how[r], sums[r][i + c], here[r][c]);
  }
}

/// The split joins the total, whose values lie in `out` between splits (nothing yet in the first).
template <int kDim, int kCount, int kDims>
__device__ __forceinline__ void end_split(const AttentionProblem& p, const Tile& tile, int kv_head,
                                          float (&sums)[kCount][kDims], const TileMemory& memory,
                                          bool first, bool last) {
  const int tx = static_cast<int>(threadIdx.x) % kSide, ty = static_cast<int>(threadIdx.x) / kSide;
  __syncwarp(kFullMask);
#pragma unroll
  for (int r = 0; r < kCount; ++r) {
    const int m = ty * kCount + r;
    const float4 state = memory.states.load4(m * 4);
    __syncwarp(kFullMask);  // before it is written anew
    SoftmaxPart total = {state.z, state.w};
    const Merge how = merge(total, {state.x, state.y});
    if (tx == 0)
      memory.states.store4(m * 4, make_float4(nothing(), 0.0f, total.maximum, total.sum));
    float* out = p.out + query_at(p, tile, kv_head, m < tile.count ? m : 0);
#pragma unroll
    for (int i = 0; i < kDims; ++i) {
      const int d = i / 4 * 4 * kSide + 4 * tx + i % 4;
      if (d < p.head_dim && m < tile.count) {
        const float value = merged_value(how, first ? 0.0f : out[d], sums[r][i]);
        out[d] = last ? normalised(value, total.sum) : value;
      }
      sums[r][i] = 0;
    }
  }
}

template <class T, int kDim>
__global__ void __launch_bounds__(kThreads, 2) attention_tile_kernel(AttentionProblem p) {
  constexpr int kRows = Sizes<kDim>::kRows, kCount = Sizes<kDim>::kCount;
  constexpr int kDims = Sizes<kDim>::kDims;
  constexpr bool kInTurn = Sizes<kDim>::kInTurn;
  static_assert(shared_fits(Sizes<kDim>::bytes(), 2));
  const int tx = static_cast<int>(threadIdx.x) % kSide, ty = static_cast<int>(threadIdx.x) / kSide;
  const int kv_head = static_cast<int>(blockIdx.y);
  // The last tiles first: under a causal mask they are the longest.
  const Tile tile = tile_at<kRows>(p, gridDim.x - 1 - blockIdx.x);
  if (tile.count <= 0) return;
  SharedArena arena;
  TileMemory memory;
  memory.q = arena.take<float>(kDim * Sizes<kDim>::kStride);
  memory.keys = arena.take<float>(kDim * kWarp);
  memory.values = kInTurn ? memory.keys : arena.take<float>(kWarp * kDim);
  memory.weights = arena.take<float>(kWarp * Sizes<kDim>::kStride);
  memory.states = arena.take<float>(kRows * 4);
  memory.places = arena.take<int>(kRows * 2);
  begin_tile<kDim>(p, tile, kv_head, memory);

  const int key_count = static_cast<int>(tile.row.key_count);
  const Blocks blocks = blocks_of(p, tile);
  float sums[kCount][kDims] = {};
  bool first = true;
  for (int b = blocks.begin; b < blocks.end; ++b) {
    const int block_begin = b * kBlockKeys;
    const KvBlock<T> block = kv_block<T>(p, tile.row.pages, kv_head, block_begin);
    const unsigned stored = seen_bits({0, key_count}, block_begin);
    __syncthreads();  // the block before is done with
    load_keys<T>(block.keys, p.head_dim, stored, memory.keys);
    if (!kInTurn) load_values<T, kDim>(block.values, p.head_dim, stored, memory.values);
    __syncthreads();
    float dots[kCount][2] = {};
    dot_keys<kDim, kCount>(dots, memory, p.head_dim, tx, ty);
    if (kInTurn) {
      __syncthreads();  // the keys have been read
      load_values<T, kDim>(block.values, p.head_dim, stored, memory.values);
    }
    unsigned seen[kCount];
    SoftmaxPart part[kCount];
    weigh_keys<kDim, kCount>(p, key_count, block_begin, dots, seen, part, memory, tx, ty);
    if (kInTurn) __syncthreads();
    add_block<kDim, kCount, kDims>(sums, seen, part, memory, tx, ty);
    if (b % kSplitBlocks == kSplitBlocks - 1 && b + 1 < blocks.end) {
      end_split<kDim, kCount, kDims>(p, tile, kv_head, sums, memory, first, false);
      first = false;
    }
  }
  if (blocks.begin >= blocks.end) __syncthreads();  // states, for which no loop has waited
  end_split<kDim, kCount, kDims>(p, tile, kv_head, sums, memory, first, true);
}

template <class T, int kDim>
void run(const Launch& on, const AttentionProblem& p, std::int64_t tokens, std::int64_t rows) {
  const std::int64_t tiles = tokens * p.group / Sizes<kDim>::kRows + rows;  // tile_at
  // A block a tile and kv head; tiles along x, the axis without a practical limit.
  launch(on, "attention_tile",
         {dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(p.kv_heads)), dim3(kThreads),
          Sizes<kDim>::bytes()},
         attention_tile_kernel<T, kDim>, p);
}

template <class T>
void run_dims(const Launch& on, const AttentionProblem& p, std::int64_t tokens, std::int64_t rows) {
  if (p.head_dim <= 64) return run<T, 64>(on, p, tokens, rows);
  if (p.head_dim <= 128) return run<T, 128>(on, p, tokens, rows);
  run<T, 256>(on, p, tokens, rows);
}

}  // namespace

void tile_attention(const Launch& on, const AttentionArguments& a) {
  std::int64_t tokens = 0, longest = 0;
  for (std::int64_t r = 0; r < a.row_count; ++r) {
    tokens += a.rows[r].tokens;
    longest = a.rows[r].tokens > longest ? a.rows[r].tokens : longest;
  }
  if (longest <= kFewTokens) return;
  const AttentionProblem p = problem_of(a);
  switch (a.layout.dtype) {
    case DType::f16: return run_dims<f16>(on, p, tokens, a.row_count);
    case DType::bf16: return run_dims<bf16>(on, p, tokens, a.row_count);
    default: return run_dims<float>(on, p, tokens, a.row_count);
  }
}

}  // namespace perilune::kernels::cuda
