// A tile of attention over paged keys and values: query rows (tokens times heads of one group) that
// share their keys (the formula is in scalar_attention.cpp; how work is cut, in
// fast_attention_work.h).
//
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
  float* out;      // [head_dim], the sum so far of the split
  std::int64_t head, position;
  Visible visible;
  float maximum, total;        // of the split's blocks so far
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

/// What sums become when others with another maximum are added to them.
PERILUNE_INLINE Vec merged(Vec old_sum, float old_part, Vec sum, float part) {
  return multiply_add(sum, splat(part), mul(old_sum, splat(old_part)));
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
      store(out, merged(load(out), rows[r]->old_part, sums[r][v], rows[r]->block_part));
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
  store_part(row.out + d,
             merged(load_part(row.out + d, count), row.old_part, total, row.block_part), count);
}

template <int kRows, class Element>
void all_values(QueryRow* const* rows, const Element* values, std::int64_t head_dim) {
  std::int64_t d = 0;
  for (; d + 4 * kLanes <= head_dim; d += 4 * kLanes)
    block_values<kRows, 4>(rows, values, head_dim, d);
  for (; d + kLanes <= head_dim; d += kLanes) block_values<kRows, 1>(rows, values, head_dim, d);
  for (int r = 0; r < kRows && d < head_dim; ++r) last_values(*rows[r], values, head_dim, d);
}

/// e^x of one number. What two maxima are apart is mostly nothing.
PERILUNE_INLINE float exp_one(float x) {
  return x == 0 ? 1.0f : first(exp(splat(x)));
}

/// A row's scores of a block, scaled and capped, with their bias.
PERILUNE_INLINE void scaled_scores(const AttentionArguments& a, QueryRow& row, std::int64_t block,
                                   Vec (&scores)[kBlockVecs]) {
  const Vec scale = splat(a.scale);
#pragma GCC unroll 16
  for (int v = 0; v < kBlockVecs; ++v) scores[v] = mul(load(row.weights + v * kLanes), scale);
  if (a.softcap > 0) {
    const Vec cap = splat(a.softcap);
    for (Vec& score : scores) score = mul(cap, tanh(div(score, cap)));
  }
  if (a.relative_bias == nullptr) return;
  for (int v = 0; v < kBlockVecs; ++v) store(row.weights + v * kLanes, scores[v]);
  for (std::int64_t j = row.begin; j < row.end; ++j)
    row.weights[j] += relative_bias_at(a, row.head, block * kKvBlock + j, row.position);
  for (int v = 0; v < kBlockVecs; ++v) scores[v] = load(row.weights + v * kLanes);
}

/// -infinity where a row does not look.
PERILUNE_INLINE void mask_scores(const QueryRow& row, Vec (&scores)[kBlockVecs]) {
  if (row.begin == 0 && row.end == kKvBlock) return;
  const Vec before = splat(static_cast<float>(row.begin) - 0.5f);
  const Vec behind = splat(static_cast<float>(row.end) - 0.5f);
  for (int v = 0; v < kBlockVecs; ++v) {
    const Vec at = add(lane_index(), splat(static_cast<float>(v * kLanes)));
    scores[v] =
        select(both(less(before, at), less(at, behind)), scores[v], splat(-__builtin_inff()));
  }
}

/// What a row has of one block.
struct BlockSum {
  float maximum, total;
};

/// Scores to weights: scale, softcap, bias, mask, exp. False when the block adds nothing.
[[maybe_unused]] bool weigh(const AttentionArguments& a, QueryRow& row, std::int64_t block,
                            BlockSum& found) {
  Vec scores[kBlockVecs];
  scaled_scores(a, row, block, scores);
  mask_scores(row, scores);
  Vec best = splat(-__builtin_inff());
#pragma GCC unroll 16
  for (int v = 0; v < kBlockVecs; ++v) best = larger(scores[v], best);
  found.maximum = largest(best);
  if (found.maximum == -__builtin_inff()) {
    bool has_nan = false;  // larger() passes over a NaN; the row must not
    for (int v = 0; v < kBlockVecs; ++v) store(row.weights + v * kLanes, scores[v]);
    for (std::int64_t j = row.begin; j < row.end; ++j)
      has_nan = has_nan || row.weights[j] != row.weights[j];
    if (!has_nan) return false;
  }
  Vec totals = zero();
#pragma GCC unroll 16
  for (int v = 0; v < kBlockVecs; ++v) {
    const Vec weight = exp_of_negative(sub(scores[v], splat(found.maximum)));
    store(row.weights + v * kLanes, weight);
    totals = add(totals, weight);
  }
  found.total = sum(totals);
  return true;
}

/// The factors that merge a block into each row's sums, of all rows in the same vectors.
[[maybe_unused]] void merge_factors(QueryRow* const* rows, const BlockSum* found,
                                    std::int64_t count) {
  float parts[2 * kTileRows + kLanes] = {};
  for (std::int64_t r = 0; r < count; ++r) {
    QueryRow& row = *rows[r];
    const float maximum = found[r].maximum > row.maximum ? found[r].maximum : row.maximum;
    parts[2 * r] = row.maximum - maximum;
    parts[2 * r + 1] = found[r].maximum - maximum;
    row.maximum = maximum;
  }
  for (std::int64_t i = 0; i < 2 * count; i += kLanes)
    store(parts + i, exp_of_negative(load(parts + i)));
  for (std::int64_t r = 0; r < count; ++r) {
    QueryRow& row = *rows[r];
    row.old_part = parts[2 * r];
    row.block_part = parts[2 * r + 1];
    row.total = row.total * row.old_part + found[r].total * row.block_part;
  }
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
  QueryRow* weighed[kTileRows] = {};
  BlockSum found[kTileRows] = {};
  std::int64_t left = 0;
  for (std::int64_t r = 0; r < count; ++r)
    if (weigh(a, *rows[r], block, found[left])) weighed[left++] = rows[r];
  merge_factors(weighed, found, left);
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

/// The keys, of `keys`, that any of the rows sees.
PERILUNE_INLINE Visible seen_by(const QueryRow* rows, std::int64_t count, std::int64_t keys) {
  Visible all = {keys, 0};
  for (std::int64_t r = 0; r < count; ++r) {
    if (rows[r].visible.begin < all.begin) all.begin = rows[r].visible.begin;
    if (rows[r].visible.end > all.end) all.end = rows[r].visible.end;
  }
  return all;
}

/// Asks for a block's keys and values, which few rows would otherwise wait for line by line: pages
/// lie anywhere.
template <class Element>
PERILUNE_INLINE void ask_for_block(const AttentionArguments& a, const KvRow& kv,
                                   std::int64_t kv_head, std::int64_t position) {
  constexpr std::int64_t kLine = 64;
  const auto* page =
      reinterpret_cast<const Element*>(kv_page(a.layout, kv, a.page_offset, position));
  const auto* keys =
      reinterpret_cast<const char*>(page + key_block_offset(a.layout, position, kv_head));
  const auto* values =
      reinterpret_cast<const char*>(page + value_block_offset(a.layout, position, kv_head));
  const auto bytes = static_cast<std::int64_t>(sizeof(Element)) * a.layout.head_dim * kKvBlock;
  for (std::int64_t at = 0; at < bytes; at += kLine) __builtin_prefetch(keys + at, 0, 2);
  for (std::int64_t at = 0; at < bytes; at += kLine) __builtin_prefetch(values + at, 0, 2);
}

/// The blocks of one tile over keys [begin, end), which lie in one split; rows start from nothing.
/// `buffer` holds a widened block: keys, then values.
template <class Element>
void attend_tile(const AttentionArguments& a, const KvRow& kv, std::int64_t kv_head, QueryRow* rows,
                 std::int64_t count, std::int64_t begin, std::int64_t end, float* buffer) {
  const std::int64_t width = a.layout.head_dim, elements = width * kKvBlock;
  for (std::int64_t r = 0; r < count; ++r) {
    rows[r].maximum = -__builtin_inff();
    rows[r].total = 0;
    for (std::int64_t d = 0; d < width; ++d) rows[r].out[d] = 0;
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
    if (used < kWidenFromRows && position + kKvBlock < end)
      ask_for_block<Element>(a, kv, kv_head, position + kKvBlock);
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

}  // namespace
}  // namespace perilune::kernels::PERILUNE_TIER
