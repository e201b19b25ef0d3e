// Attention over paged keys and values (the formula is in scalar_attention.cpp).
//
// A work item is a tile of query rows (tokens times heads of one group) that share their keys.
// Blocks of kKvBlock positions pass in ascending order; a row's partial results and their merging
// do not depend on the rows beside it. Scores lie across positions and add over head_dim ascending;
// values lie across head_dim and add over positions ascending. Positions a row does not see take no
// part: their scores are replaced, their values are not read.
#pragma once

#include <type_traits>

#include "kernels/cpu/kv.h"
#include "kernels/cpu/parallel.h"

namespace perilune::kernels::PERILUNE_TIER {
namespace {

inline constexpr int kBlockVecs = static_cast<int>(kKvBlock) / kLanes;
inline constexpr std::int64_t kTileRows = 24;      // query rows that share a widened block
inline constexpr std::int64_t kWidenFromRows = 4;  // fewer rows widen on the fly

/// One query row of a tile.
struct QueryRow {
  const float* q;  // [head_dim]
  float* out;      // [head_dim], the sum so far
  std::int64_t head, position;
  Visible visible;
  float maximum, total;        // of the blocks so far
  std::int64_t begin, end;     // seen positions of this block, in [0, kKvBlock]
  float old_part, block_part;  // factors that merge this block
  float weights[kKvBlock];     // scores, then exp(score - block maximum)
};

/// scores[r][j] = dot(q_r, key j) for the whole block.
template <int kRows, class Element>
void block_scores(QueryRow* const* rows, const Element* keys, std::int64_t head_dim) {
  Vec sums[kRows][kBlockVecs];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < kBlockVecs; ++v) sums[r][v] = zero();
  const float* q[kRows];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) q[r] = rows[r]->q;
  for (std::int64_t d = 0; d < head_dim; ++d, keys += kKvBlock) {
    Vec inputs[kRows];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) inputs[r] = broadcast(q[r] + d);
#pragma GCC unroll 16
    for (int v = 0; v < kBlockVecs; ++v) {
      const Vec key = load(keys + v * kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) sums[r][v] = multiply_add(inputs[r], key, sums[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < kBlockVecs; ++v) store(rows[r]->weights + v * kLanes, sums[r][v]);
}

PERILUNE_INLINE Vec merged(Vec old_sum, Vec block_sum, const QueryRow& row) {
  return multiply_add(block_sum, splat(row.block_part), mul(old_sum, splat(row.old_part)));
}

/// out_r[d..] = out_r * old_part + (sum over seen j of weight_rj * value_j) * block_part, for kVecs
/// vectors from column d. The rows see the same positions.
template <int kRows, int kVecs, class Element>
PERILUNE_INLINE void block_values(QueryRow* const* rows, const Element* values,
                                  std::int64_t head_dim, std::int64_t d) {
  Vec sums[kRows][kVecs];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v) sums[r][v] = zero();
  const std::int64_t end = rows[0]->end;
  for (std::int64_t j = rows[0]->begin; j < end; ++j) {
    const Element* value = values + j * head_dim + d;
    Vec weights[kRows];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) weights[r] = broadcast(rows[r]->weights + j);
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v) {
      const Vec column = load(value + v * kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) sums[r][v] = multiply_add(weights[r], column, sums[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v) {
      float* out = rows[r]->out + d + v * kLanes;
      store(out, merged(load(out), sums[r][v], *rows[r]));
    }
}

PERILUNE_INLINE Vec load_columns(const float* p, std::int64_t count) {
  return load_part(p, count);
}
template <class Half>
PERILUNE_INLINE Vec load_columns(const Half* p, std::int64_t count) {
  Half lanes[kLanes] = {};
  for (std::int64_t i = 0; i < count; ++i) lanes[i] = p[i];
  return load(lanes);
}

/// The last head_dim % kLanes columns.
template <class Element>
void last_values(QueryRow& row, const Element* values, std::int64_t head_dim, std::int64_t d) {
  const std::int64_t count = head_dim - d;
  Vec total = zero();
  for (std::int64_t j = row.begin; j < row.end; ++j)
    total = multiply_add(broadcast(row.weights + j), load_columns(values + j * head_dim + d, count),
                         total);
  store_part(row.out + d, merged(load_part(row.out + d, count), total, row), count);
}

template <int kRows, class Element>
void all_values(QueryRow* const* rows, const Element* values, std::int64_t head_dim) {
  std::int64_t d = 0;
  for (; d + 4 * kLanes <= head_dim; d += 4 * kLanes)
    block_values<kRows, 4>(rows, values, head_dim, d);
  for (; d + kLanes <= head_dim; d += kLanes) block_values<kRows, 1>(rows, values, head_dim, d);
  for (int r = 0; r < kRows && d < head_dim; ++r) last_values(*rows[r], values, head_dim, d);
}

PERILUNE_INLINE float exp_one(float x) {
  return first(exp(splat(x)));
}

/// Scores to weights: scale, softcap, bias, mask, exp; and the factors of the merge. False when the
/// block adds nothing.
[[maybe_unused]] bool weigh(const AttentionArguments& a, QueryRow& row, std::int64_t block) {
  const Vec scale = splat(a.scale), lowest = splat(-__builtin_inff());
  if (a.softcap > 0 || a.relative_bias != nullptr) {
    const Vec cap = splat(a.softcap);
    for (std::int64_t j = 0; j < kKvBlock; j += kLanes) {
      Vec score = mul(load(row.weights + j), scale);
      if (a.softcap > 0) score = mul(cap, tanh(div(score, cap)));
      store(row.weights + j, score);
    }
    for (std::int64_t j = row.begin; a.relative_bias != nullptr && j < row.end; ++j)
      row.weights[j] += relative_bias_at(a, row.head, block * kKvBlock + j, row.position);
  } else {
    for (std::int64_t j = 0; j < kKvBlock; j += kLanes)
      store(row.weights + j, mul(load(row.weights + j), scale));
  }
  const Vec before = splat(static_cast<float>(row.begin) - 0.5f);
  const Vec behind = splat(static_cast<float>(row.end) - 0.5f);
  Vec best = lowest;
  for (std::int64_t j = 0; j < kKvBlock; j += kLanes) {
    const Vec at = add(lane_index(), splat(static_cast<float>(j)));
    const Vec score =
        select(both(less(before, at), less(at, behind)), load(row.weights + j), lowest);
    store(row.weights + j, score);
    best = larger(score, best);
  }
  const float block_maximum = largest(best);
  if (block_maximum == -__builtin_inff()) {
    bool has_nan = false;  // larger() passes over a NaN; the row must not
    for (std::int64_t j = row.begin; j < row.end; ++j)
      has_nan = has_nan || row.weights[j] != row.weights[j];
    if (!has_nan) return false;
  }
  Vec totals = zero();
  for (std::int64_t j = 0; j < kKvBlock; j += kLanes) {
    const Vec weight = exp(sub(load(row.weights + j), splat(block_maximum)));
    store(row.weights + j, weight);
    totals = add(totals, weight);
  }
  const float maximum = block_maximum > row.maximum ? block_maximum : row.maximum;
  row.old_part = exp_one(row.maximum - maximum);
  row.block_part = exp_one(block_maximum - maximum);
  row.total = row.total * row.old_part + sum(totals) * row.block_part;
  row.maximum = maximum;
  return true;
}

/// Calls rows_function<kAttentionRows> or <1> over runs of rows that see the same positions.
template <class Many, class One>
PERILUNE_INLINE void in_groups(QueryRow* const* rows, std::int64_t count, const Many& many,
                               const One& one) {
  for (std::int64_t r = 0; r < count;) {
    bool same = r + kAttentionRows <= count;
    for (std::int64_t i = 1; same && i < kAttentionRows; ++i)
      same = rows[r]->begin == rows[r + i]->begin && rows[r]->end == rows[r + i]->end;
    if (same) {
      many(rows + r);
      r += kAttentionRows;
    } else {
      one(rows + r);
      ++r;
    }
  }
}

template <class Element>
void attend_block(const AttentionArguments& a, QueryRow* const* rows, std::int64_t count,
                  const Element* keys, const Element* values, std::int64_t block) {
  const std::int64_t width = a.layout.head_dim;
  in_groups(
      rows, count, [&](QueryRow* const* r) { block_scores<kAttentionRows>(r, keys, width); },
      [&](QueryRow* const* r) { block_scores<1>(r, keys, width); });
  QueryRow* weighed[kTileRows];
  std::int64_t left = 0;
  for (std::int64_t r = 0; r < count; ++r)
    if (weigh(a, *rows[r], block)) weighed[left++] = rows[r];
  in_groups(
      weighed, left, [&](QueryRow* const* r) { all_values<kAttentionRows>(r, values, width); },
      [&](QueryRow* const* r) { all_values<1>(r, values, width); });
}

/// A block of whole numbers as the floats that they mean: keys, whose scales lie along a row, and
/// values, each of whose rows has one.
[[maybe_unused]] void widen_keys(const std::int8_t* keys, const float* scales,
                                 std::int64_t head_dim, float* out) {
  for (std::int64_t i = 0; i < head_dim * kKvBlock; i += kLanes)
    store(out + i, mul(load_bytes(keys + i), load(scales + i % kKvBlock)));
}
[[maybe_unused]] void widen_values(const std::int8_t* values, const float* scales,
                                   std::int64_t head_dim, float* out) {
  for (std::int64_t j = 0; j < kKvBlock; ++j, values += head_dim, out += head_dim) {
    const Vec scale = splat(scales[j]);
    std::int64_t d = 0;
    for (; d + kLanes <= head_dim; d += kLanes) store(out + d, mul(load_bytes(values + d), scale));
    for (; d < head_dim; ++d) out[d] = static_cast<float>(values[d]) * scales[j];
  }
}

PERILUNE_INLINE std::int64_t clamp_to_block(std::int64_t position) {
  return position < 0 ? 0 : (position > kKvBlock ? kKvBlock : position);
}

/// All blocks of one tile. `buffer` holds a widened block: keys, then values.
template <class Element>
void attend_tile(const AttentionArguments& a, const KvRow& kv, std::int64_t kv_head, QueryRow* rows,
                 std::int64_t count, float* buffer) {
  const std::int64_t width = a.layout.head_dim, elements = width * kKvBlock;
  std::int64_t begin = kv.key_count, end = 0;
  for (std::int64_t r = 0; r < count; ++r) {
    if (rows[r].visible.begin < begin) begin = rows[r].visible.begin;
    if (rows[r].visible.end > end) end = rows[r].visible.end;
  }
  for (std::int64_t block = begin / kKvBlock; block * kKvBlock < end; ++block) {
    QueryRow* active[kTileRows];
    std::int64_t used = 0;
    for (std::int64_t r = 0; r < count; ++r) {
      rows[r].begin = clamp_to_block(rows[r].visible.begin - block * kKvBlock);
      rows[r].end = clamp_to_block(rows[r].visible.end - block * kKvBlock);
      if (rows[r].begin < rows[r].end) active[used++] = &rows[r];
    }
    if (used == 0) continue;
    const std::int64_t position = block * kKvBlock;
    const char* page = kv_page(a.layout, kv, a.page_offset, position);
    const Element* keys =
        reinterpret_cast<const Element*>(page) + key_block_offset(a.layout, position, kv_head);
    const Element* values =
        reinterpret_cast<const Element*>(page) + value_block_offset(a.layout, position, kv_head);
    if constexpr (std::is_same_v<Element, std::int8_t>) {
      const auto* scales =
          reinterpret_cast<const float*>(page + key_scales_offset(a.layout, position, kv_head));
      widen_keys(keys, scales, width, buffer);
      widen_values(values, scales + value_scales_apart(a.layout), width, buffer + elements);
      const float* wide = buffer;
      attend_block(a, active, used, wide, wide + elements, block);
    } else if constexpr (sizeof(Element) == sizeof(float)) {
      attend_block(a, active, used, keys, values, block);
    } else if (used < kWidenFromRows) {
      attend_block(a, active, used, keys, values, block);
    } else {
      const float* wide_keys = widened(keys, elements, buffer);
      const float* wide_values = widened(values, elements, buffer + elements);
      attend_block(a, active, used, wide_keys, wide_values, block);
    }
  }
}

/// How the work is cut: items of one sequence, kv head and tile of tokens and heads. How it is cut
/// changes no bit: every row is computed by itself.
struct AttentionTiling {
  std::int64_t group, heads, head_tiles, tokens;
  /// Where there are fewer items than `least`, heads that share keys become items of their own and
  /// read them once each: a decode step of a model with few kv heads uses all threads.
  AttentionTiling(const AttentionArguments& a, std::int64_t least)
      : group(a.heads / a.layout.kv_heads),
        heads(group < kTileRows ? group : kTileRows),
        head_tiles((group + heads - 1) / heads),
        tokens(kTileRows / heads) {
    while (heads > 1 && items(a) < least) {
      heads = (heads + 1) / 2;
      head_tiles = (group + heads - 1) / heads;
    }
  }
  std::int64_t items(const AttentionArguments& a, const KvRow& row) const {
    return (row.tokens + tokens - 1) / tokens * a.layout.kv_heads * head_tiles;
  }
  std::int64_t items(const AttentionArguments& a) const {
    std::int64_t all = 0;
    for (std::int64_t r = 0; r < a.row_count; ++r) all += items(a, a.rows[r]);
    return all;
  }
};

template <class Element>
void attend_item(const AttentionArguments& a, const AttentionTiling& tiling, const KvRow& kv,
                 std::int64_t item, float* buffer) {
  const std::int64_t width = a.layout.head_dim;
  const std::int64_t head_tile = item % tiling.head_tiles;
  const std::int64_t kv_head = item / tiling.head_tiles % a.layout.kv_heads;
  const std::int64_t token_tile = item / tiling.head_tiles / a.layout.kv_heads;
  const std::int64_t token_end =
      (token_tile + 1) * tiling.tokens < kv.tokens ? (token_tile + 1) * tiling.tokens : kv.tokens;
  const std::int64_t head_end =
      (head_tile + 1) * tiling.heads < tiling.group ? (head_tile + 1) * tiling.heads : tiling.group;
  QueryRow rows[kTileRows];
  std::int64_t count = 0;
  for (std::int64_t t = token_tile * tiling.tokens; t < token_end; ++t)
    for (std::int64_t g = head_tile * tiling.heads; g < head_end; ++g) {
      QueryRow& row = rows[count++];
      const std::int64_t head = kv_head * tiling.group + g;
      const std::int64_t at = ((kv.first_token + t) * a.heads + head) * width;
      row.q = a.q + at;
      row.out = a.out + at;
      row.head = head;
      row.position = kv.first_position + t;
      row.visible = visible_keys(a, kv, row.position);
      row.maximum = -__builtin_inff();
      row.total = 0;
      for (std::int64_t d = 0; d < width; ++d) row.out[d] = 0;
    }
  attend_tile<Element>(a, kv, kv_head, rows, count, buffer);
  for (std::int64_t r = 0; r < count; ++r) {
    if (rows[r].total == 0) continue;  // nothing visible: zeros
    const Vec total = splat(rows[r].total);
    map(rows[r].out, rows[r].out, width, [&](Vec v) { return div(v, total); });
  }
}

PERILUNE_INLINE std::int64_t buffer_floats(const AttentionArguments& a) {
  return a.layout.dtype == DType::f32 ? 0 : 2 * a.layout.head_dim * kKvBlock;
}

[[maybe_unused]] std::size_t attention_scratch(const AttentionArguments& a, int threads) {
  const std::int64_t tasks = threads > 1 ? threads * kTasksPerThread : 1;
  return static_cast<std::size_t>(tasks * buffer_floats(a)) * sizeof(float);
}

template <class Element>
void run_attention(const Launch& launch, const AttentionArguments& a) {
  std::int64_t scores = 0;
  for (std::int64_t r = 0; r < a.row_count; ++r) scores += a.rows[r].tokens * a.rows[r].key_count;
  constexpr std::int64_t kProductsPerAttentionTask = 1 << 15;
  const std::int64_t wanted =
      task_count(launch, scores * a.heads * a.layout.head_dim, kProductsPerAttentionTask);
  const std::int64_t threads = wanted > 1 ? launch.parallel.threads : 1;
  const AttentionTiling tiling(a, wanted < threads ? wanted : threads);
  const std::int64_t items = tiling.items(a);
  const std::int64_t tasks = wanted < items ? wanted : items;
  // Items are dealt out in turn: later tokens of a causal prompt see more keys.
  parallel_tasks(launch, tasks, [&](std::int64_t task) {
    float* buffer = static_cast<float*>(launch.scratch) + task * buffer_floats(a);
    std::int64_t row = 0, start = 0;
    for (std::int64_t item = task; item < items; item += tasks) {
      while (item - start >= tiling.items(a, a.rows[row])) start += tiling.items(a, a.rows[row++]);
      attend_item<Element>(a, tiling, a.rows[row], item - start, buffer);
    }
  });
}

[[maybe_unused]] void attention(const Launch& launch, const AttentionArguments& a) {
  switch (a.layout.dtype) {
    case DType::f16: return run_attention<F16>(launch, a);
    case DType::bf16: return run_attention<Bf16>(launch, a);
    case DType::i8: return run_attention<std::int8_t>(launch, a);
    default: return run_attention<float>(launch, a);
  }
}

}  // namespace
}  // namespace perilune::kernels::PERILUNE_TIER
