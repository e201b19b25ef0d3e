#include "tests/kernels/kernel_test.h"

using namespace kernel_test;

namespace {

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

constexpr std::int64_t kLayers = 2, kBiasFirst = -40, kBiasCount = 81;

Sequence make_sequence(const Setup& s, std::int64_t tokens, std::uint64_t seed) {
  Random random(seed);
  Sequence sequence;
  sequence.tokens = tokens;
  sequence.q = random.values(tokens * s.heads * s.head_dim, 2.0f);
  sequence.k = random.values(tokens * s.kv_heads * s.head_dim, 2.0f);
  sequence.v = random.values(tokens * s.kv_heads * s.head_dim);
  return sequence;
}

KvLayout layout_of(const Setup& s) {
  return {s.dtype, s.kv_heads, s.head_dim, s.page_tokens};
}

std::vector<float> bias_of(const Setup& s) {
  return Random(77).values(s.heads * kBiasCount);
}

/// cos and sin of the tokens' positions, [token, pairs] each.
struct Angles {
  std::vector<float> cosine, sine;
};
Angles angles_of(const Setup& s, std::int64_t first, std::int64_t tokens) {
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

void write(const KernelTable& table, const Setup& s, const float* k, const float* v,
           const std::vector<KvRow>& rows, std::int64_t page_offset) {
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
  const StagedRows staged(table, a.layout, a.rows, a.row_count);
  a.device_rows = staged.data();
  table.kv_write(launch_of(s.threads), a);
}

AttentionArguments arguments_of(const Setup& s, const std::vector<KvRow>& rows, const float* q,
                                float* out, const std::vector<float>& bias,
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

void attend(const KernelTable& table, const Setup& s, AttentionArguments a) {
  const StagedRows staged(table, a.layout, a.rows, a.row_count);
  a.device_rows = staged.data();
  Buffer scratch(table.attention_scratch(a, s.threads));
  table.attention(launch_of(s.threads, &scratch), a);
}

/// The sequence in chunks of `chunk` tokens, as prefill and decode steps would run it; the first
/// one of `first` tokens where that is not 0.
std::vector<float> run_chunks(const KernelTable& table, const Setup& s, const Sequence& sequence,
                              std::int64_t chunk, std::int64_t first = 0) {
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

float stored(const Setup& s, float x) {
  if (s.dtype == DType::f16) return f16_to_f32(f32_to_f16(x));
  return s.dtype == DType::bf16 ? bf16_to_f32(f32_to_bf16(x)) : x;
}

/// Keys as the cache holds them: rotated, rounded.
std::vector<float> stored_keys(const Setup& s, const Sequence& sequence) {
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
      for (std::int64_t d = 0; d < s.head_dim; ++d) key[d] = stored(s, key[d]);
    }
  return keys;
}

/// Softmax weights of one query and head in double precision, [tokens]; zero where unseen.
std::vector<double> reference_weights(const Setup& s, const Sequence& sequence,
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

std::vector<double> reference(const Setup& s, const Sequence& sequence) {
  const std::vector<float> keys = stored_keys(s, sequence);
  std::vector<double> out;
  for (std::int64_t t = 0; t < sequence.tokens; ++t)
    for (std::int64_t head = 0; head < s.heads; ++head) {
      const std::vector<double> weights = reference_weights(s, sequence, keys, t, head);
      const std::int64_t kv_head = head / (s.heads / s.kv_heads);
      for (std::int64_t d = 0; d < s.head_dim; ++d) {
        double sum = 0;
        for (std::int64_t j = 0; j < sequence.tokens; ++j)
          sum += weights[static_cast<std::size_t>(j)] *
                 static_cast<double>(stored(s, sequence.v[static_cast<std::size_t>(
                                                   (j * s.kv_heads + kv_head) * s.head_dim + d)]));
        out.push_back(sum);
      }
    }
  return out;
}

std::vector<Setup> setups() {
  std::vector<Setup> list;
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    list.push_back({.dtype = dtype});
    list.push_back({.dtype = dtype, .heads = 3, .kv_heads = 3, .head_dim = 5});
    list.push_back({.dtype = dtype, .heads = 8, .kv_heads = 1, .head_dim = 80, .page_tokens = 64});
    list.push_back({.dtype = dtype, .mask = Mask::none});
    list.push_back({.dtype = dtype, .window = 7});
    list.push_back({.dtype = dtype, .window = 45});
    list.push_back({.dtype = dtype, .mask = Mask::none, .window = 9});
    list.push_back({.dtype = dtype, .softcap = 1.5f});
    list.push_back({.dtype = dtype, .mask = Mask::none, .biased = true});
    list.push_back({.dtype = dtype, .head_dim = 20, .pairs = 6, .threads = 3});
    list.push_back({.dtype = dtype, .head_dim = 20, .pairs = 10, .interleaved = true});
    list.push_back({.dtype = dtype, .heads = 60, .kv_heads = 2, .head_dim = 12, .threads = 2});
  }
  return list;
}

std::string describe(const KernelTable& table, const Setup& s) {
  return std::string(table.tier) + " " + dtype_name(s.dtype) + " heads " + std::to_string(s.heads) +
         "/" + std::to_string(s.kv_heads) + " head_dim " + std::to_string(s.head_dim) + " window " +
         std::to_string(s.window) + " pairs " + std::to_string(s.pairs);
}

}  // namespace

TEST_CASE("attention agrees with double precision") {
  for (const KernelTable* table : tables_under_test())
    for (const Setup& s : setups()) {
      INFO(describe(*table, s));
      for (const std::int64_t tokens : {1, 31, 33, 101}) {
        const Sequence sequence = make_sequence(s, tokens, 17);
        CHECK(difference(run_chunks(*table, s, sequence, tokens), reference(s, sequence)) < 2e-5);
      }
    }
}

TEST_CASE("attention in chunks has the bits of the whole, for any pages and threads", "[bits]") {
  for (const KernelTable* table : tables_under_test())
    for (Setup s : setups()) {
      if (s.mask == Mask::none) continue;  // later keys are not there yet
      INFO(describe(*table, s));
      const Sequence sequence = make_sequence(s, 107, 23);
      const std::vector<float> whole = run_chunks(*table, s, sequence, 107);
      for (const std::int64_t chunk : {5, 32, 50})
        CHECK(same_bits(whole, run_chunks(*table, s, sequence, chunk)));
      // One by one: all of them, or from before the second block to the end.
      CHECK(same_bits(whole, run_chunks(*table, s, sequence, 1, is_emulated(*table) ? 62 : 0)));
      for (const std::int64_t page_tokens : {32, 64, 128})
        for (const int threads : {1, 4}) {
          if (is_emulated(*table) && threads > 1) continue;
          s.page_tokens = page_tokens;
          s.threads = threads;
          CHECK(same_bits(whole, run_chunks(*table, s, sequence, 40)));
        }
    }
}

TEST_CASE("sequences of one step do not see each other", "[bits]") {
  for (const KernelTable* table : tables_under_test())
    for (const Setup& s : setups()) {
      INFO(describe(*table, s));
      const std::int64_t lengths[] = {3, 40, 1, 65};
      const std::vector<float> bias = bias_of(s);
      std::vector<Sequence> sequences;
      std::vector<Pages> pages;
      std::vector<KvRow> rows;
      Sequence all = {{}, {}, {}, 0};
      for (const std::int64_t tokens : lengths) {
        sequences.push_back(make_sequence(s, tokens, static_cast<std::uint64_t>(tokens)));
        const Sequence& one = sequences.back();
        pages.emplace_back(s, tokens);
        all.q.insert(all.q.end(), one.q.begin(), one.q.end());
        all.k.insert(all.k.end(), one.k.begin(), one.k.end());
        all.v.insert(all.v.end(), one.v.begin(), one.v.end());
      }
      for (std::size_t i = 0; i < pages.size(); ++i) {
        rows.push_back(pages[i].row(all.tokens, lengths[i], 0));
        all.tokens += lengths[i];
      }
      write(*table, s, all.k.data(), all.v.data(), rows, pages[0].offset());
      std::vector<float> out(all.q.size(), NAN);
      attend(*table, s, arguments_of(s, rows, all.q.data(), out.data(), bias, pages[0].offset()));
      std::vector<float> expected;
      for (const Sequence& one : sequences) {
        const std::vector<float> alone = run_chunks(*table, s, one, one.tokens);
        expected.insert(expected.end(), alone.begin(), alone.end());
      }
      CHECK(same_bits(out, expected));
    }
}

TEST_CASE("queries over another sequence's keys, and rows that see nothing") {
  for (const KernelTable* table : tables_under_test())
    for (const DType dtype : {DType::f32, DType::bf16}) {
      const Setup s = {.dtype = dtype, .mask = Mask::none};
      const Sequence keys = make_sequence(s, 45, 1), queries = make_sequence(s, 3, 2);
      const Pages pages(s, 45);
      write(*table, s, keys.k.data(), keys.v.data(), {pages.row(0, 45, 0)}, pages.offset());
      std::vector<KvRow> rows = {pages.row(0, 3, 0)};
      rows[0].key_count = 45;
      std::vector<float> out(queries.q.size(), NAN);
      attend(*table, s, arguments_of(s, rows, queries.q.data(), out.data(), {}, pages.offset()));
      Sequence joined = keys;
      std::copy(queries.q.begin(), queries.q.end(), joined.q.begin());
      std::vector<double> expected = reference(s, joined);
      expected.resize(out.size());
      CHECK(difference(out, expected) < 2e-5);

      rows[0].key_count = 0;
      attend(*table, s, arguments_of(s, rows, queries.q.data(), out.data(), {}, pages.offset()));
      CHECK(same_bits(out, std::vector<float>(out.size(), 0.0f)));
    }
}

TEST_CASE("scores of minus infinity hide a key, and NaN in a seen value is not hidden") {
  for (const KernelTable* table : tables_under_test()) {
    INFO(table->tier);
    const Setup s = {.mask = Mask::none, .biased = true};
    const Sequence sequence = make_sequence(s, 70, 5);
    const Pages pages(s, 70);
    const std::vector<KvRow> rows = {pages.row(0, 70, 0)};
    write(*table, s, sequence.k.data(), sequence.v.data(), rows, pages.offset());
    std::vector<float> bias(static_cast<std::size_t>(s.heads * kBiasCount), -INFINITY);
    std::vector<float> out(sequence.q.size(), NAN);
    attend(*table, s, arguments_of(s, rows, sequence.q.data(), out.data(), bias, pages.offset()));
    CHECK(same_bits(out, std::vector<float>(out.size(), 0.0f)));

    const Setup plain = {};
    Sequence spoiled = sequence;
    spoiled.k[static_cast<std::size_t>(50 * s.kv_heads * s.head_dim)] = NAN;  // kv head 0
    const std::vector<float> clean = run_chunks(*table, plain, sequence, 70);
    const std::vector<float> bad = run_chunks(*table, plain, spoiled, 70);
    for (std::int64_t t = 0; t < 70; ++t)
      for (std::int64_t head = 0; head < s.heads; ++head) {
        const auto at = static_cast<std::size_t>((t * s.heads + head) * s.head_dim);
        if (t >= 50 && head < 2)
          CHECK(std::isnan(bad[at]));
        else
          CHECK(bad[at] == clean[at]);
      }
  }
}

TEST_CASE("a NaN in a value reaches the rows that see it, and no others") {
  for (const KernelTable* table : tables_under_test())
    for (const DType dtype : {DType::f32, DType::f16, DType::bf16})
      for (const std::int64_t window : {0, 6, 40}) {
        INFO(table->tier << " " << dtype_name(dtype) << " window " << window);
        constexpr std::int64_t kTokens = 90, kSpoiled = 37;
        const Setup s = {.dtype = dtype, .head_dim = 18, .window = window};
        const Sequence sequence = make_sequence(s, kTokens, 5);
        Sequence spoiled = sequence;
        const auto at = static_cast<std::size_t>(kSpoiled * s.kv_heads * s.head_dim);
        std::fill_n(spoiled.v.begin() + static_cast<std::ptrdiff_t>(at), s.kv_heads * s.head_dim,
                    NAN);
        const std::vector<float> clean = run_chunks(*table, s, sequence, kTokens);
        const std::vector<float> bad = run_chunks(*table, s, spoiled, kTokens);
        for (std::int64_t t = 0; t < kTokens; ++t) {
          const bool seen = t >= kSpoiled && (window == 0 || t < kSpoiled + window);
          for (std::int64_t i = 0; i < s.heads * s.head_dim; ++i) {
            const auto j = static_cast<std::size_t>(t * s.heads * s.head_dim + i);
            if (seen ? !std::isnan(bad[j]) : bad[j] != clean[j]) FAIL("token " << t);
          }
        }
      }
}

TEST_CASE("attention weights are the softmax itself") {
  for (const KernelTable* table : tables_under_test())
    for (const Setup& s : setups()) {
      INFO(describe(*table, s));
      const Sequence sequence = make_sequence(s, 41, 3);
      const std::vector<float> bias = bias_of(s);
      const Pages pages(s, 41);
      const std::vector<KvRow> rows = {pages.row(0, 41, 0)};
      write(*table, s, sequence.k.data(), sequence.v.data(), rows, pages.offset());
      constexpr std::int64_t kKeys = 44;
      std::vector<float> weights(static_cast<std::size_t>(41 * s.heads * kKeys), NAN);
      AttentionWeightsArguments a = {
          arguments_of(s, rows, sequence.q.data(), nullptr, bias, pages.offset()), weights.data(),
          kKeys};
      const StagedRows staged(*table, a.attention.layout, rows.data(), a.attention.row_count);
      a.attention.device_rows = staged.data();
      table->attention_weights(launch_of(s.threads), a);
      const std::vector<float> keys = stored_keys(s, sequence);
      std::vector<double> expected;
      for (std::int64_t t = 0; t < 41; ++t)
        for (std::int64_t head = 0; head < s.heads; ++head) {
          std::vector<double> row = reference_weights(s, sequence, keys, t, head);
          row.resize(kKeys, 0.0);
          expected.insert(expected.end(), row.begin(), row.end());
        }
      CHECK(difference(weights, expected) < 1e-5);
    }
}

TEST_CASE("a fused rotation writes the keys of rope and a plain write") {
  for (const KernelTable* table : tables_under_test())
    for (const bool interleaved : {false, true}) {
      Setup s = {.head_dim = 20, .pairs = 7, .interleaved = interleaved};
      const Sequence sequence = make_sequence(s, 50, 9);
      const std::vector<float> fused = run_chunks(*table, s, sequence, 50);
      const Angles angles = angles_of(s, 0, 50);
      Sequence rotated = sequence;
      const RopeArguments rope = {rotated.k.data(),
                                  rotated.k.data(),
                                  angles.cosine.data(),
                                  angles.sine.data(),
                                  50,
                                  s.kv_heads,
                                  s.head_dim,
                                  s.pairs,
                                  interleaved};
      table->rope(launch_of(1), rope);
      s.pairs = 0;
      CHECK(same_bits(fused, run_chunks(*table, s, rotated, 50)));
    }
}

namespace {

/// Long sequences, for devices that spread keys in pieces of more than one numeric block.
std::vector<Setup> long_setups() {
  return {
      {.dtype = DType::bf16, .heads = 4, .kv_heads = 2, .head_dim = 8},
      {.heads = 3, .kv_heads = 1, .head_dim = 10, .window = 300, .softcap = 5},
      {.dtype = DType::f16, .heads = 2, .kv_heads = 2, .head_dim = 24, .biased = true},
  };
}

}  // namespace

TEST_CASE("far positions have the bits of the whole in any chunks and pages", "[bits]") {
  for (const KernelTable* table : tables_under_test())
    for (const Setup& s : long_setups()) {
      INFO(describe(*table, s));
      const Sequence sequence = make_sequence(s, 600, 23);
      const std::vector<float> whole = run_chunks(*table, s, sequence, 600);
      CHECK(difference(whole, reference(s, sequence)) < 2e-5);
      CHECK(same_bits(whole, run_chunks(*table, s, sequence, 100)));
      CHECK(same_bits(whole, run_chunks(*table, s, sequence, 7, 500)));
      Setup large_pages = s;
      large_pages.page_tokens = 256;
      CHECK(same_bits(whole, run_chunks(*table, large_pages, sequence, 130)));
    }
}

TEST_CASE("rows of one token, of few and of many share a step, in any order, some empty") {
  for (const KernelTable* table : tables_under_test())
    for (const Setup& s : long_setups()) {
      INFO(describe(*table, s));
      constexpr std::int64_t kTokens = 600, kFirst = 255;  // q begins at kFirst
      const Sequence sequence = make_sequence(s, kTokens, 23);
      const std::vector<float> whole = run_chunks(*table, s, sequence, kTokens);
      const std::vector<float> bias = bias_of(s);
      const Pages pages(s, kTokens);
      write(*table, s, sequence.k.data(), sequence.v.data(), {pages.row(0, kTokens, 0)},
            pages.offset());
      std::vector<KvRow> rows;
      for (const auto& [position, tokens] : std::vector<std::pair<std::int64_t, std::int64_t>>{
               {599, 1}, {300, 0}, {255, 50}, {400, 3}, {410, 8}, {420, 9}})
        rows.push_back(pages.row(position - kFirst, tokens, position));
      const std::int64_t width = s.heads * s.head_dim;
      std::vector<float> expected(static_cast<std::size_t>((kTokens - kFirst) * width), NAN);
      std::vector<float> out = expected;
      attend(*table, s,
             arguments_of(s, rows, sequence.q.data() + kFirst * width, out.data(), bias,
                          pages.offset()));
      for (const KvRow& row : rows)
        std::copy_n(whole.begin() + row.first_position * width, row.tokens * width,
                    expected.begin() + row.first_token * width);
      CHECK(same_bits(out, expected));  // and nothing else was written
    }
}

TEST_CASE("heads of any width and number, alone and in chunks") {
  for (const KernelTable* table : tables_under_test())
    for (const Setup& s : std::vector<Setup>{
             {.dtype = DType::bf16, .heads = 2, .kv_heads = 1, .head_dim = 256},
             {.heads = 1, .kv_heads = 1, .head_dim = 129},
             {.dtype = DType::f16, .heads = 9, .kv_heads = 1, .head_dim = 255, .biased = true},
             {.dtype = DType::f16, .heads = 70, .kv_heads = 1, .head_dim = 64},
             {.dtype = DType::bf16, .heads = 5, .kv_heads = 5, .head_dim = 1},
             {.dtype = DType::bf16, .heads = 12, .kv_heads = 2, .head_dim = 128}}) {
      INFO(describe(*table, s));
      for (const std::int64_t tokens : {1, 9, 40}) {
        const Sequence sequence = make_sequence(s, tokens, 17);
        const std::vector<float> whole = run_chunks(*table, s, sequence, tokens);
        CHECK(difference(whole, reference(s, sequence)) < 2e-5);
        CHECK(same_bits(whole, run_chunks(*table, s, sequence, 6)));
      }
    }
}
