// A token's attention has the same bits however its sequence is cut into steps, pages and rows.
#include "tests/kernels/attention_support.h"

using namespace kernel_test;

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

TEST_CASE("attention in chunks has the bits of the whole, for any pages and threads", "[bits]") {
  for (const KernelTable* table : tables_under_test())
    for (Setup s : setups()) {
      if (s.mask == Mask::none) continue;                          // later keys are not there yet
      if (is_emulated(*table) && s.dtype == DType::f16) continue;  // bf16 is read by the same code
      INFO(describe(*table, s));
      const Sequence sequence = make_sequence(s, 107, 23);
      const std::vector<float> whole = run_chunks(*table, s, sequence, 107);
      // An emulated kernel takes a hundred times as long.
      const bool emulated = is_emulated(*table);
      for (const std::int64_t chunk :
           emulated ? std::vector<std::int64_t>{50} : std::vector<std::int64_t>{5, 32, 50})
        CHECK(same_bits(whole, run_chunks(*table, s, sequence, chunk)));
      // One by one: all of them, or from before the second block to the end.
      CHECK(same_bits(whole, run_chunks(*table, s, sequence, 1, emulated ? 62 : 0)));
      for (const std::int64_t page_tokens : {32, 64, 128})
        for (const int threads : {1, 4}) {
          if (emulated && (threads > 1 || page_tokens != 128)) continue;
          s.page_tokens = page_tokens;
          s.threads = threads;
          CHECK(same_bits(whole, run_chunks(*table, s, sequence, 40)));
        }
    }
}

TEST_CASE("heads that share keys have the same bits together and, for want of work, apart",
          "[bits]") {
  for (const KernelTable* table : tables_under_test()) {
    if (is_emulated(*table)) continue;
    for (Setup s : {Setup{.heads = 8, .kv_heads = 1, .head_dim = 80},
                    Setup{.dtype = DType::bf16, .heads = 9, .kv_heads = 3, .head_dim = 64},
                    Setup{.dtype = DType::f16, .heads = 70, .kv_heads = 1, .head_dim = 64}}) {
      INFO(describe(*table, s));
      const Sequence sequence = make_sequence(s, 300, 29);
      const std::vector<float> whole = run_chunks(*table, s, sequence, 1, 297);
      for (const int threads : {2, 4, 24}) {
        if (std::strcmp(table->tier, "scalar") == 0 && threads != 4)
          continue;  // nothing is cut there
        s.threads = threads;
        CHECK(same_bits(whole, run_chunks(*table, s, sequence, 1, 297)));
      }
    }
  }
}

TEST_CASE("keys dealt to threads in splits: 128 to 8,192 of them, alone and in a batch", "[bits]") {
  for (const KernelTable* table : tables_under_test()) {
    if (is_emulated(*table)) continue;
    for (Setup s : {Setup{.dtype = DType::bf16, .heads = 9, .kv_heads = 3, .head_dim = 24},
                    Setup{.heads = 2, .kv_heads = 1, .head_dim = 17, .window = 700, .softcap = 5},
                    Setup{.dtype = DType::i8, .heads = 4, .kv_heads = 4, .head_dim = 32}}) {
      INFO(describe(*table, s));
      const std::int64_t lengths[] = {128, 8192, 1, 1025, 256, 257};
      const std::int64_t width = s.heads * s.head_dim;
      std::vector<Pages> pages;
      std::vector<KvRow> rows;
      std::vector<float> q;
      std::vector<std::vector<float>> alone;
      for (const std::int64_t length : lengths) {
        const Sequence one = make_sequence(s, length, static_cast<std::uint64_t>(length));
        pages.emplace_back(s, length);
        write(*table, s, one.k.data(), one.v.data(), {pages.back().row(0, length, 0)},
              pages.back().offset());
        rows.push_back(pages.back().row(static_cast<std::int64_t>(rows.size()), 1, length - 1));
        q.insert(q.end(), one.q.end() - width, one.q.end());
      }
      const auto run = [&](const KernelTable& kernels, const std::vector<KvRow>& some,
                           int threads) {
        s.threads = threads;
        std::vector<float> out(q.size(), NAN);
        attend(kernels, s, arguments_of(s, some, q.data(), out.data(), {}, pages[0].offset()));
        return out;
      };
      const std::vector<float> all = run(*table, rows, 1);
      CHECK(difference(all, run(scalar_table(), rows, 1)) < 2e-5);
      for (const int threads : {2, 3, 16}) CHECK(same_bits(all, run(*table, rows, threads)));
      for (std::size_t i = 0; i < rows.size(); ++i)
        for (const int threads : {1, 2, 16}) {
          INFO(lengths[i] << " keys alone, " << threads << " threads");
          const std::vector<float> out = run(*table, {rows[i]}, threads);
          const auto at = static_cast<std::ptrdiff_t>(i) * width;
          CHECK(same_bits(std::vector<float>(all.begin() + at, all.begin() + at + width),
                          std::vector<float>(out.begin() + at, out.begin() + at + width)));
        }
    }
  }
}

TEST_CASE("a few splits are joined by the block that is done last, many by a kernel of their own") {
  const Setup s = {.heads = 4, .kv_heads = 2, .head_dim = 16};
  constexpr std::int64_t kKeys = 600, kFar = 65 * 256;
  const std::int64_t width = s.heads * s.head_dim;
  for (const KernelTable* table : tables_under_test()) {
    if (!is_emulated(*table)) continue;
    const Sequence one = make_sequence(s, kKeys, 5);
    const Pages pages(s, kKeys), far(s, kFar);  // nothing was stored in the far one
    write(*table, s, one.k.data(), one.v.data(), {pages.row(0, kKeys, 0)}, pages.offset());
    std::vector<float> q(one.q.end() - width, one.q.end());
    q.insert(q.end(), one.q.end() - width, one.q.end());
    const auto run = [&](const std::vector<KvRow>& rows, std::int64_t launches) {
      std::vector<float> out(q.size(), NAN);
      const std::int64_t before = test_stream().launches;
      attend(*table, s, arguments_of(s, rows, q.data(), out.data(), {}, pages.offset()));
      if (plugin_stream() == nullptr) CHECK(test_stream().launches - before == launches);
      return std::vector<float>(out.begin(), out.begin() + width);
    };
    const KvRow near = pages.row(0, 1, kKeys - 1);
    const std::vector<float> joined = run({near}, 1), whole = run_chunks(*table, s, one, kKeys);
    CHECK(same_bits(joined, std::vector<float>(whole.end() - width, whole.end())));
    CHECK(same_bits(joined, run({near, far.row(1, 1, kFar - 1)}, 2)));
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

TEST_CASE("far positions have the bits of the whole in any chunks and pages", "[bits]") {
  for (const KernelTable* table : tables_under_test())
    for (const Setup& s : long_setups()) {
      INFO(describe(*table, s));
      const Sequence sequence = make_sequence(s, 600, 23);
      const std::vector<float> whole = run_chunks(*table, s, sequence, 600);
      CHECK(difference(whole, reference(s, sequence)) < 2e-5);
      if (!is_emulated(*table)) CHECK(same_bits(whole, run_chunks(*table, s, sequence, 100)));
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
