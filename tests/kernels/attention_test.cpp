// What attention computes: values, masks, what is not finite, weights, rotation.
#include "tests/kernels/attention_support.h"

using namespace kernel_test;

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

TEST_CASE("queries that stand beyond the last key, whose pages end there") {
  for (const KernelTable* table : tables_under_test())
    for (const std::int64_t window : {0, 20})
      for (const std::int64_t tokens : {1, 8, 60})
        for (const std::int64_t position : {30, 50, 500}) {
          INFO(table->tier << " window " << window << ": " << tokens << " at " << position);
          const Setup s = {.mask = Mask::none, .window = window};
          const Sequence keys = make_sequence(s, 45, 1), queries = make_sequence(s, tokens, 2);
          const Pages pages(s, 45);
          write(*table, s, keys.k.data(), keys.v.data(), {pages.row(0, 45, 0)}, pages.offset());
          std::vector<KvRow> rows = {pages.row(0, tokens, position)};
          rows[0].key_count = 45;
          if (table->kv_rows_bytes != nullptr) {
            KvRow within = rows[0];
            within.first_position = 0;
            CHECK(table->kv_rows_bytes(layout_of(s), rows.data(), 1) ==
                  table->kv_rows_bytes(layout_of(s), &within, 1));
          }
          std::vector<float> out(queries.q.size(), NAN), expected = out;
          attend(*table, s,
                 arguments_of(s, rows, queries.q.data(), out.data(), {}, pages.offset()));
          attend(scalar_table(), s,
                 arguments_of(s, rows, queries.q.data(), expected.data(), {}, pages.offset()));
          CHECK(difference(out, expected) < 2e-5);
          if (window > 0 && position == 500) CHECK(same_bits(out, std::vector<float>(out.size())));
        }
}

TEST_CASE(
    "a query far behind tens of thousands of keys: more pieces than one block merges at once") {
  constexpr std::int64_t kKeys = 34'000;
  for (const KernelTable* table : tables_under_test())
    for (const std::int64_t window : {std::int64_t{0}, kKeys - 300}) {
      INFO(table->tier << " window " << window);
      const Setup s = {
          .heads = 1, .kv_heads = 1, .head_dim = 8, .page_tokens = 256, .window = window};
      const Sequence sequence = make_sequence(s, kKeys, 4);
      const Pages pages(s, kKeys);
      write(*table, s, sequence.k.data(), sequence.v.data(), {pages.row(0, kKeys, 0)},
            pages.offset());
      const std::vector<KvRow> rows = {pages.row(0, 1, kKeys - 1)};
      const float* q = sequence.q.data() + (kKeys - 1) * s.head_dim;
      std::vector<float> out(static_cast<std::size_t>(s.head_dim), NAN), expected = out;
      attend(*table, s, arguments_of(s, rows, q, out.data(), {}, pages.offset()));
      attend(scalar_table(), s, arguments_of(s, rows, q, expected.data(), {}, pages.offset()));
      CHECK(difference(out, expected) < 2e-5);
    }
}

TEST_CASE("a NaN in a query stays in its head, over any number of keys") {
  for (const KernelTable* table : tables_under_test()) {
    constexpr std::int64_t kTokens = 600, kSpoiled[] = {20, 300, 595};
    const Setup s = {.heads = 2, .kv_heads = 1, .head_dim = 8};
    const Sequence sequence = make_sequence(s, kTokens, 5);
    Sequence spoiled = sequence;
    for (const std::int64_t t : kSpoiled)
      spoiled.q[static_cast<std::size_t>((t * s.heads + 1) * s.head_dim + 3)] = NAN;
    const std::vector<float> clean = run_chunks(*table, s, sequence, kTokens);
    for (const std::int64_t chunk : {600, 5}) {
      const std::int64_t from = chunk == kTokens ? 0 : 590;
      INFO(table->tier << ", " << chunk << " at a time");
      const std::vector<float> bad = run_chunks(*table, s, spoiled, chunk, from);
      for (std::int64_t i = 0; i < kTokens * s.heads * s.head_dim; ++i) {
        const std::int64_t t = i / s.head_dim / s.heads, head = i / s.head_dim % s.heads;
        const bool is_spoiled = head == 1 && std::count(kSpoiled, kSpoiled + 3, t) != 0;
        const auto at = static_cast<std::size_t>(i);
        if (is_spoiled ? !std::isnan(bad[at]) : bad[at] != clean[at]) FAIL("token " << t);
      }
    }
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

// A step that has a deadline makes calls of some of a call's tokens, with the scratch of all.
TEST_CASE("the scratch of a call is enough for calls with some of its tokens") {
  Setup s;
  s.dtype = DType::f16;
  s.heads = 9;
  s.kv_heads = 3;
  s.head_dim = 64;
  for (const KernelTable* table : tables_under_test()) {
    if (table->pack_coded == nullptr) continue;  // a device's calls are not cut
    for (const int threads : {1, 2, 3, 16})
      for (const std::int64_t tokens : {40, 300, 512, 3000}) {
        CAPTURE(table->tier, threads, tokens);
        s.threads = threads;
        const auto scratch = [&](std::int64_t first, std::int64_t count) {
          const std::vector<KvRow> rows = {{nullptr, first, count, first, tokens}};
          return table->attention_scratch(arguments_of(s, rows, nullptr, nullptr, {}, 0), threads);
        };
        const std::size_t all = scratch(0, tokens);
        for (std::int64_t first = 0; first < tokens; first += 37)
          for (const std::int64_t count : {1, 2, 7, 64})
            if (first + count <= tokens) CHECK(scratch(first, count) <= all);
      }
  }
}

TEST_CASE("queries that are turned while keys are written are those of rope") {
  constexpr std::int64_t kTokens = 50;
  for (const KernelTable* table : tables_under_test())
    for (const bool interleaved : {false, true}) {
      if (!table->turns_queries) continue;
      const Setup s = {.heads = 6, .head_dim = 20, .pairs = 7, .interleaved = interleaved};
      const Sequence sequence = make_sequence(s, kTokens, 9);
      const Angles angles = angles_of(s, 0, kTokens);
      std::vector<float> expected(sequence.q.size()), turned(sequence.q.size());
      table->rope(launch_of(1),
                  {expected.data(), sequence.q.data(), angles.cosine.data(), angles.sine.data(),
                   kTokens, s.heads, s.head_dim, s.pairs, interleaved});
      Pages pages(s, kTokens);
      write(*table, s, sequence.k.data(), sequence.v.data(), {pages.row(0, kTokens, 0)},
            pages.offset(), sequence.q.data(), turned.data());
      CHECK(same_bits(turned, expected));
    }
}
