// Attention on made-up sequences, for the tests of it: the pages they lie in, the call, and the
// same in double precision.
#pragma once

#include "tests/kernels/kernel_test.h"

namespace kernel_test {

/// A sequence with all its keys, values and queries, [token, head, head_dim].
struct Sequence {
  std::vector<float> q, k, v;
  std::int64_t tokens;
};

struct Setup {
  DType dtype = DType::f32;
  std::int64_t heads = 4, kv_heads = 2, head_dim = 16, page_tokens = 32;
  Mask mask = Mask::causal;
  std::int64_t window = 0;
  float softcap = 0;
  bool biased = false;
  std::int64_t pairs = 0;  // rotary, on the keys only
  bool interleaved = false;
  int threads = 1;
};

inline constexpr std::int64_t kLayers = 2, kBiasFirst = -40, kBiasCount = 81;

inline Sequence make_sequence(const Setup& s, std::int64_t tokens, std::uint64_t seed) {
  Random random(seed);
  Sequence sequence;
  sequence.tokens = tokens;
  sequence.q = random.values(tokens * s.heads * s.head_dim, 2.0f);
  sequence.k = random.values(tokens * s.kv_heads * s.head_dim, 2.0f);
  sequence.v = random.values(tokens * s.kv_heads * s.head_dim);
  return sequence;
}

inline KvLayout layout_of(const Setup& s) {
  return {s.dtype, s.kv_heads, s.head_dim, s.page_tokens};
}

inline std::vector<float> bias_of(const Setup& s) {
  return Random(77).values(s.heads * kBiasCount);
}

/// cos and sin of the tokens' positions, [token, pairs] each.
struct Angles {
  std::vector<float> cosine, sine;
};
inline Angles angles_of(const Setup& s, std::int64_t first, std::int64_t tokens) {
  Angles angles;
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t j = 0; j < s.pairs; ++j) {
      const float angle = static_cast<float>(first + t) * std::pow(0.5f, static_cast<float>(j));
      angles.cosine.push_back(std::cos(angle));
      angles.sine.push_back(std::sin(angle));
    }
  return angles;
}

/// One sequence's pages: two layers each, of which the second is used; all bits set before.
class Pages {
 public:
  Pages(const Setup& s, std::int64_t tokens)
      : offset_(kv_layer_bytes(layout_of(s)) * (kLayers - 1)) {
    for (std::int64_t p = 0; p * s.page_tokens < tokens; ++p) {
      pages_.emplace_back(static_cast<std::size_t>(kv_layer_bytes(layout_of(s)) * kLayers));
      pointers_.push_back(pages_.back().data());
    }
  }
  std::int64_t offset() const { return offset_; }
  KvRow row(std::int64_t first_token, std::int64_t tokens, std::int64_t first_position) const {
    return {pointers_.data(), first_token, tokens, first_position, first_position + tokens};
  }

 private:
  std::int64_t offset_;
  std::vector<Buffer> pages_;
  std::vector<void*> pointers_;
};

inline void write(const KernelTable& table, const Setup& s, const float* k, const float* v,
                  const std::vector<KvRow>& rows, std::int64_t page_offset,
                  const float* q = nullptr, float* q_out = nullptr) {
  Angles angles;
  for (const KvRow& row : rows) {
    const Angles more = angles_of(s, row.first_position, row.tokens);
    angles.cosine.insert(angles.cosine.end(), more.cosine.begin(), more.cosine.end());
    angles.sine.insert(angles.sine.end(), more.sine.begin(), more.sine.end());
  }
  KvWriteArguments a = {};
  a.layout = layout_of(s);
  a.k = k;
  a.v = v;
  a.rows = rows.data();
  a.row_count = static_cast<std::int64_t>(rows.size());
  a.page_offset = page_offset;
  a.cosine = s.pairs > 0 ? angles.cosine.data() : nullptr;
  a.sine = s.pairs > 0 ? angles.sine.data() : nullptr;
  a.pairs = s.pairs;
  a.interleaved = s.interleaved;
  a.q = q;
  a.q_out = q_out;
  a.heads = s.heads;
  const StagedRows staged(table, a.layout, a.rows, a.row_count);
  a.device_rows = staged.data();
  table.kv_write(launch_of(s.threads), a);
}

inline AttentionArguments arguments_of(const Setup& s, const std::vector<KvRow>& rows,
                                       const float* q, float* out, const std::vector<float>& bias,
                                       std::int64_t page_offset) {
  AttentionArguments a = {};
  a.layout = layout_of(s);
  a.out = out;
  a.q = q;
  a.rows = rows.data();
  a.row_count = static_cast<std::int64_t>(rows.size());
  a.page_offset = page_offset;
  a.heads = s.heads;
  a.mask = s.mask;
  a.window = s.window;
  a.scale = 1.0f / std::sqrt(static_cast<float>(s.head_dim));
  a.softcap = s.softcap;
  a.relative_bias = s.biased ? bias.data() : nullptr;
  a.relative_first = kBiasFirst;
  a.relative_count = kBiasCount;
  return a;
}

inline void attend(const KernelTable& table, const Setup& s, AttentionArguments a) {
  const StagedRows staged(table, a.layout, a.rows, a.row_count);
  a.device_rows = staged.data();
  Buffer scratch(table.attention_scratch(a, s.threads));
  table.attention(launch_of(s.threads, &scratch), a);
}

/// The sequence in chunks of `chunk` tokens, as prefill and decode steps would run it; the first
/// one of `first` tokens where that is not 0.
inline std::vector<float> run_chunks(const KernelTable& table, const Setup& s,
                                     const Sequence& sequence, std::int64_t chunk,
                                     std::int64_t first = 0) {
  const std::vector<float> bias = bias_of(s);
  const Pages pages(s, sequence.tokens);
  std::vector<float> out(sequence.q.size(), NAN);
  const std::int64_t q_width = s.heads * s.head_dim, k_width = s.kv_heads * s.head_dim;
  for (std::int64_t at = 0, next = 0; at < sequence.tokens; at = next) {
    next = std::min(sequence.tokens, at == 0 && first > 0 ? first : at + chunk);
    const std::vector<KvRow> rows = {pages.row(0, next - at, at)};
    write(table, s, sequence.k.data() + at * k_width, sequence.v.data() + at * k_width, rows,
          pages.offset());
    attend(table, s,
           arguments_of(s, rows, sequence.q.data() + at * q_width, out.data() + at * q_width, bias,
                        pages.offset()));
  }
  return out;
}

/// A head's key or value as the cache gives it back.
inline void round_head(const Setup& s, float* head) {
  float largest = 0;
  for (std::int64_t d = 0; d < s.head_dim; ++d) largest = std::max(largest, std::fabs(head[d]));
  for (std::int64_t d = 0; d < s.head_dim; ++d) {
    float& x = head[d];
    if (s.dtype == DType::f16) x = f16_to_f32(f32_to_f16(x));
    if (s.dtype == DType::bf16) x = bf16_to_f32(f32_to_bf16(x));
    if (s.dtype == DType::i8) x = std::nearbyint(x * (127.0f / largest)) * (largest / 127.0f);
  }
}

/// Keys as the cache holds them: rotated, rounded.
inline std::vector<float> stored_keys(const Setup& s, const Sequence& sequence) {
  std::vector<float> keys = sequence.k;
  const Angles angles = angles_of(s, 0, sequence.tokens);
  for (std::int64_t t = 0; t < sequence.tokens; ++t)
    for (std::int64_t h = 0; h < s.kv_heads; ++h) {
      float* key = keys.data() + (t * s.kv_heads + h) * s.head_dim;
      for (std::int64_t j = 0; j < s.pairs; ++j) {
        float& first = key[s.interleaved ? 2 * j : j];
        float& second = key[s.interleaved ? 2 * j + 1 : j + s.pairs];
        const float c = angles.cosine[static_cast<std::size_t>(t * s.pairs + j)];
        const float n = angles.sine[static_cast<std::size_t>(t * s.pairs + j)];
        const float rotated = first * c - second * n;
        second = second * c + first * n;
        first = rotated;
      }
      round_head(s, key);
    }
  return keys;
}

/// Softmax weights of one query and head in double precision, [tokens]; zero where unseen.
inline std::vector<double> reference_weights(const Setup& s, const Sequence& sequence,
                                             const std::vector<float>& keys, std::int64_t t,
                                             std::int64_t head) {
  const std::vector<float> bias = bias_of(s);
  const std::int64_t kv_head = head / (s.heads / s.kv_heads);
  std::vector<double> weights(static_cast<std::size_t>(sequence.tokens), -INFINITY);
  double maximum = -INFINITY, total = 0;
  for (std::int64_t j = 0; j < sequence.tokens; ++j) {
    if (s.mask == Mask::causal && (j > t || (s.window > 0 && j <= t - s.window))) continue;
    if (s.mask == Mask::none && s.window > 0 && std::abs(t - j) >= s.window) continue;
    double score = 0;
    for (std::int64_t d = 0; d < s.head_dim; ++d)
      score += static_cast<double>(
                   sequence.q[static_cast<std::size_t>((t * s.heads + head) * s.head_dim + d)]) *
               static_cast<double>(
                   keys[static_cast<std::size_t>((j * s.kv_heads + kv_head) * s.head_dim + d)]);
    score /= std::sqrt(static_cast<double>(s.head_dim));
    if (s.softcap > 0)
      score = static_cast<double>(s.softcap) * std::tanh(score / static_cast<double>(s.softcap));
    const std::int64_t entry = std::clamp<std::int64_t>(j - t - kBiasFirst, 0, kBiasCount - 1);
    if (s.biased)
      score += static_cast<double>(bias[static_cast<std::size_t>(head * kBiasCount + entry)]);
    weights[static_cast<std::size_t>(j)] = score;
    maximum = std::max(maximum, score);
  }
  for (double& w : weights) total += w = w == -INFINITY ? 0 : std::exp(w - maximum);
  for (double& w : weights) w = total == 0 ? 0 : w / total;
  return weights;
}

inline std::vector<double> reference(const Setup& s, const Sequence& sequence) {
  const std::vector<float> keys = stored_keys(s, sequence);
  std::vector<float> values = sequence.v;
  for (std::size_t at = 0; at < values.size(); at += static_cast<std::size_t>(s.head_dim))
    round_head(s, values.data() + at);
  std::vector<double> out;
  for (std::int64_t t = 0; t < sequence.tokens; ++t)
    for (std::int64_t head = 0; head < s.heads; ++head) {
      const std::vector<double> weights = reference_weights(s, sequence, keys, t, head);
      const std::int64_t kv_head = head / (s.heads / s.kv_heads);
      for (std::int64_t d = 0; d < s.head_dim; ++d) {
        double sum = 0;
        for (std::int64_t j = 0; j < sequence.tokens; ++j)
          sum += weights[static_cast<std::size_t>(j)] *
                 static_cast<double>(
                     values[static_cast<std::size_t>((j * s.kv_heads + kv_head) * s.head_dim + d)]);
        out.push_back(sum);
      }
    }
  return out;
}

inline std::vector<Setup> setups() {
  std::vector<Setup> list;
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16, DType::i8}) {
    if (dtype == DType::i8 && is_emulated(*tables_under_test().front())) continue;  // not theirs
    list.push_back({.dtype = dtype});
    list.push_back({.dtype = dtype, .heads = 3, .kv_heads = 3, .head_dim = 5});
    list.push_back({.dtype = dtype, .heads = 8, .kv_heads = 1, .head_dim = 80, .page_tokens = 64});
    list.push_back({.dtype = dtype, .window = 45});
    list.push_back({.dtype = dtype, .head_dim = 20, .pairs = 10, .interleaved = true});
    if (dtype == DType::i8) continue;  // masks and biases know nothing of how keys are kept
    list.push_back({.dtype = dtype, .mask = Mask::none});
    list.push_back({.dtype = dtype, .window = 7});
    list.push_back({.dtype = dtype, .mask = Mask::none, .window = 9});
    list.push_back({.dtype = dtype, .softcap = 1.5f});
    list.push_back({.dtype = dtype, .mask = Mask::none, .biased = true});
    list.push_back({.dtype = dtype, .head_dim = 20, .pairs = 6, .threads = 3});
    list.push_back({.dtype = dtype, .heads = 60, .kv_heads = 2, .head_dim = 12, .threads = 2});
  }
  return list;
}

inline std::string describe(const KernelTable& table, const Setup& s) {
  return std::string(table.tier) + " " + dtype_name(s.dtype) + " heads " + std::to_string(s.heads) +
         "/" + std::to_string(s.kv_heads) + " head_dim " + std::to_string(s.head_dim) + " window " +
         std::to_string(s.window) + " pairs " + std::to_string(s.pairs);
}

}  // namespace kernel_test
