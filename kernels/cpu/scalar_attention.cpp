// Attention over keys and values in pages, one query and head at a time.
//
// Per block b of kKvBlock positions: s_j = dot(q, k_j) * scale (softcap, bias), m_b = max s_j,
// p_j = exp(s_j - m_b), l_b = sum p_j, o_b = sum p_j v_j, over the visible j ascending. The blocks
// of a split of kSplitKeys positions merge ascending: m' = max(m, m_b), o = o exp(m - m') + o_b
// exp(m_b - m'), l likewise; then splits do in the same way; out = o / l.
#include <cmath>
#include <limits>

#include "kernels/cpu/kv.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/scalar.h"

namespace perilune::kernels::scalar {
namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();

/// `scale`: of i8.
float load(const void* data, DType dtype, std::int64_t index, float scale) {
  if (dtype == DType::i8)
    return static_cast<float>(static_cast<const std::int8_t*>(data)[index]) * scale;
  if (dtype == DType::f32) return static_cast<const float*>(data)[index];
  const std::uint16_t bits = static_cast<const std::uint16_t*>(data)[index];
  return dtype == DType::bf16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}
/// The scales of a key's block, those of its values further on; null but for i8.
const float* block_scales(const KvLayout& layout, const char* page, std::int64_t key,
                          std::int64_t kv_head) {
  if (layout.dtype != DType::i8) return nullptr;
  return reinterpret_cast<const float*>(page + key_scales_offset(layout, key, kv_head));
}
/// One query of one head.
struct Query {
  const float* q;  // [head_dim]
  std::int64_t head, kv_head, position;
};

float score(const AttentionArguments& a, const KvRow& row, const Query& query, std::int64_t key) {
  const char* page = kv_page(a.layout, row, a.page_offset, key);
  const std::int64_t keys = key_block_offset(a.layout, key, query.kv_head) + key % kKvBlock;
  const float* scales = block_scales(a.layout, page, key, query.kv_head);
  const float scale = scales != nullptr ? scales[key % kKvBlock] : 1.0f;
  float sum = 0;
  for (std::int64_t d = 0; d < a.layout.head_dim; ++d)
    sum = std::fma(query.q[d], load(page, a.layout.dtype, keys + d * kKvBlock, scale), sum);
  sum *= a.scale;
  if (a.softcap > 0) sum = a.softcap * std::tanh(sum / a.softcap);
  if (a.relative_bias != nullptr) sum += relative_bias_at(a, query.head, key, query.position);
  return sum;
}

/// What merging needs of a part: its maximum, its sum of weights, and the factor that old values
/// get.
struct Part {
  float maximum = kLowest, total = 0;
  bool nothing() const { return total == 0 && maximum == kLowest; }
};
struct Factors {
  float old_part, new_part;
};
Factors merge(Part& to, const Part& part) {
  const float merged = std::fmax(to.maximum, part.maximum);
  const Factors f = {std::exp(to.maximum - merged), std::exp(part.maximum - merged)};
  to.total = to.total * f.old_part + part.total * f.new_part;
  to.maximum = merged;
  return f;
}

/// A split's blocks as values need them: weights of its keys, and how each block is merged.
struct Split {
  std::int64_t begin, end;  // visible keys
  Part all;
  float weights[kSplitKeys];
  struct Block {
    bool seen;  // else its values are not read
    Factors factors;
  } blocks[kSplitKeys / kKvBlock];

  std::int64_t block_end(std::int64_t key) const {
    const std::int64_t next = (key / kKvBlock + 1) * kKvBlock;
    return next < end ? next : end;
  }
  Block& block_of(std::int64_t key) { return blocks[key % kSplitKeys / kKvBlock]; }
};

void weigh_split(const AttentionArguments& a, const KvRow& row, const Query& query, Split& split) {
  for (std::int64_t first = split.begin, end = 0; first < split.end; first = end) {
    end = split.block_end(first);
    float* weights = split.weights + (first - split.begin);
    Part block;
    for (std::int64_t j = first; j < end; ++j) {
      const float here = weights[j - first] = score(a, row, query, j);
      if (here > block.maximum || std::isnan(here)) block.maximum = here;
    }
    split.block_of(first) = {};
    if (block.maximum == kLowest) continue;
    for (std::int64_t j = first; j < end; ++j)
      block.total += weights[j - first] = std::exp(weights[j - first] - block.maximum);
    split.block_of(first) = {true, merge(split.all, block)};
  }
}

/// Column d of the split's weighted values.
float split_value(const AttentionArguments& a, const KvRow& row, const Query& query, Split& split,
                  std::int64_t d) {
  const std::int64_t width = a.layout.head_dim;
  float value = 0;
  for (std::int64_t first = split.begin, end = 0; first < split.end; first = end) {
    end = split.block_end(first);
    const auto& [seen, factors] = split.block_of(first);
    if (!seen) continue;
    const char* page = kv_page(a.layout, row, a.page_offset, first);
    const float* scales = block_scales(a.layout, page, first, query.kv_head);
    float sum = 0;
    for (std::int64_t j = first; j < end; ++j)
      sum = std::fma(
          split.weights[j - split.begin],
          load(page, a.layout.dtype,
               value_block_offset(a.layout, j, query.kv_head) + j % kKvBlock * width + d,
               scales != nullptr ? scales[value_scales_apart(a.layout) + j % kKvBlock] : 1.0f),
          sum);
    value = value * factors.old_part + sum * factors.new_part;
  }
  return value;
}

void attend(const AttentionArguments& a, const KvRow& row, const Query& query, float* out) {
  const std::int64_t width = a.layout.head_dim;
  for (std::int64_t d = 0; d < width; ++d) out[d] = 0;
  Part all;
  const Visible visible = visible_keys(a, row, query.position);
  for (std::int64_t first = visible.begin, end = 0; first < visible.end; first = end) {
    const std::int64_t next = (first / kSplitKeys + 1) * kSplitKeys;
    end = next < visible.end ? next : visible.end;
    Split split = {first, end};
    weigh_split(a, row, query, split);
    if (split.all.nothing()) continue;
    Factors factors = {0, 1};
    if (all.nothing())
      all = split.all;
    else
      factors = merge(all, split.all);
    for (std::int64_t d = 0; d < width; ++d)
      out[d] = out[d] * factors.old_part + split_value(a, row, query, split, d) * factors.new_part;
  }
  if (all.total == 0) return;  // nothing visible: zeros
  for (std::int64_t d = 0; d < width; ++d) out[d] /= all.total;
}

/// Calls body(row, query, token) for every query of every head.
template <class Body>
void each_query(const Launch& launch, const AttentionArguments& a, const Body& body) {
  const std::int64_t group = a.heads / a.layout.kv_heads;
  for (std::int64_t r = 0; r < a.row_count; ++r) {
    const KvRow& row = a.rows[r];
    parallel_ranges(launch, row.tokens * a.heads, 4, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t token = row.first_token + i / a.heads, head = i % a.heads;
        const Query query = {a.q + (token * a.heads + head) * a.layout.head_dim, head, head / group,
                             row.first_position + i / a.heads};
        body(row, query, token);
      }
    });
  }
}

/// The softmax of one row's scores over its visible keys; zero elsewhere.
void weigh(const AttentionWeightsArguments& w, const KvRow& row, const Query& query, float* out) {
  for (std::int64_t j = 0; j < w.keys; ++j) out[j] = 0;
  Visible visible = visible_keys(w.attention, row, query.position);
  if (visible.end > w.keys) visible.end = w.keys;
  float maximum = kLowest, total = 0;
  for (std::int64_t j = visible.begin; j < visible.end; ++j) {
    out[j] = score(w.attention, row, query, j);
    maximum = std::fmax(maximum, out[j]);
  }
  for (std::int64_t j = visible.begin; j < visible.end; ++j) {
    out[j] = maximum == kLowest ? 0.0f : std::exp(out[j] - maximum);
    total += out[j];
  }
  for (std::int64_t j = visible.begin; j < visible.end && total != 0; ++j) out[j] /= total;
}

}  // namespace

std::size_t attention_scratch(const AttentionArguments&, int) {
  return 0;
}

void attention(const Launch& launch, const AttentionArguments& a) {
  each_query(launch, a, [&](const KvRow& row, const Query& query, std::int64_t token) {
    attend(a, row, query, a.out + (token * a.heads + query.head) * a.layout.head_dim);
  });
}

void attention_weights(const Launch& launch, const AttentionWeightsArguments& w) {
  const std::int64_t heads = w.attention.heads;
  each_query(launch, w.attention, [&](const KvRow& row, const Query& query, std::int64_t token) {
    weigh(w, row, query, w.weights + (token * heads + query.head) * w.keys);
  });
}

}  // namespace perilune::kernels::scalar
