#include "tests/kernels/kernel_test.h"

using namespace kernel_test;

namespace {

/// x [4, 6, 50], reduced over the last `reduced` axes, as seen through strides of [50, 6, 4].
std::vector<double> reference(Reduce op, const std::vector<float>& x, int reduced) {
  const std::size_t each = reduced == 1 ? 50 : 300;
  std::vector<double> out;
  for (std::size_t o = 0; o < x.size() / each; ++o) {
    double sum = 0, squares = 0, low = INFINITY, high = -INFINITY;
    std::size_t low_at = 0, high_at = 0, nonzero = 0;
    for (std::size_t i = 0; i < each; ++i) {
      const std::size_t flat = o * each + i;  // in the logical order [4, 6, 50]
      const std::size_t a = flat / 300, b = flat / 50 % 6, c = flat % 50;
      const double v = static_cast<double>(x[c * 24 + b * 4 + a]);
      sum += v;
      squares += v * v;
      nonzero += v != 0 ? 1 : 0;
      if (v < low) low = v, low_at = i;
      if (v > high) high = v, high_at = i;
    }
    const double results[] = {sum,
                              sum / static_cast<double>(each),
                              low,
                              high,
                              static_cast<double>(low_at),
                              static_cast<double>(high_at),
                              nonzero > 0 ? 1.0 : 0.0,
                              nonzero == each ? 1.0 : 0.0,
                              squares};
    out.push_back(results[static_cast<int>(op)]);
  }
  return out;
}

}  // namespace

TEST_CASE("reductions over one and two axes, of floats and of whole numbers") {
  for (const KernelTable* table : tables_under_test())
    for (int op = 0; op <= static_cast<int>(Reduce::sum_squares); ++op)
      for (const int reduced : {1, 2})
        for (const bool whole : {false, true}) {
          INFO(table->tier << " op " << op << " reduced " << reduced << " whole " << whole);
          Random random(3);
          std::vector<float> x(4 * 6 * 50);
          std::vector<std::int32_t> integers;
          for (float& v : x) {
            v = static_cast<float>(random.below(40) - 5);  // many ties, a few zeros
            integers.push_back(static_cast<std::int32_t>(v));
          }
          const bool index =
              op == static_cast<int>(Reduce::argmin) || op == static_cast<int>(Reduce::argmax);
          if (index && reduced == 2) continue;
          const std::vector<double> expected = reference(static_cast<Reduce>(op), x, reduced);
          std::vector<float> out(expected.size());
          std::vector<std::int64_t> offsets(expected.size());
          ReduceArguments a = {};
          a.op = static_cast<Reduce>(op);
          a.rank = 3;
          a.reduced = reduced;
          a.sizes[0] = 4;
          a.sizes[1] = 6;
          a.sizes[2] = 50;
          a.x = {x.data(), DType::f32, {1, 4, 24}};
          if (whole) a.x = {integers.data(), DType::i32, {1, 4, 24}};
          a.out = {out.data(), DType::f32, {reduced == 1 ? 6 : 1, 1}};
          if (index) a.out = {offsets.data(), DType::i64, {6, 1}};
          table->reduce(launch_of(2), a);
          for (std::size_t i = 0; index && i < out.size(); ++i)
            out[i] = static_cast<float>(offsets[i]);
          CHECK(difference(out, expected) < 1e-6);
        }
}

TEST_CASE("the lowest of equals wins, and NaN never does") {
  for (const KernelTable* table : tables_under_test()) {
    std::vector<float> x = {NAN, 2, 7, 7, 1, 1, NAN, NAN};
    std::vector<std::int64_t> out = {-1};
    ReduceArguments a = {};
    a.op = Reduce::argmax;
    a.rank = a.reduced = 1;
    a.sizes[0] = 6;
    a.x = {x.data(), DType::f32, {1}};
    a.out = {out.data(), DType::i64, {}};
    table->reduce(launch_of(1), a);
    CHECK(out[0] == 2);
    a.op = Reduce::argmin;
    table->reduce(launch_of(1), a);
    CHECK(out[0] == 4);
  }
}

TEST_CASE("the general product takes any strides and adds in ascending order") {
  for (const KernelTable* table : tables_under_test())
    for (const std::int64_t k : {0, 1, 31, 257, 600})
      for (const bool transposed : {false, true}) {
        INFO(table->tier << " k " << k << " transposed " << transposed);
        constexpr std::int64_t kBatches = 2, kM = 67, kN = 149;
        const std::vector<float> a = Random(1).values(kBatches * kM * k);
        const std::vector<float> b = Random(2).values(kN * k);
        std::vector<float> out(kBatches * kM * kN, NAN), expected;
        MatmulArguments arguments = {};
        arguments.out = out.data();
        arguments.a = a.data();
        arguments.b = b.data();
        arguments.batches = kBatches;
        arguments.m = kM;
        arguments.n = kN;
        arguments.k = k;
        arguments.out_batch = kM * kN;
        arguments.out_m = kN;
        arguments.a_batch = kM * k;
        arguments.a_m = k;
        arguments.a_k = 1;
        arguments.b_n = transposed ? 1 : k;  // b is shared by the batches
        arguments.b_k = transposed ? kN : 1;
        table->matmul(launch_of(3), arguments);
        for (std::int64_t r = 0; r < kBatches * kM; ++r)
          for (std::int64_t n = 0; n < kN; ++n) {
            float sum = 0;
            for (std::int64_t i = 0; i < k; ++i) {
              const float x = a[static_cast<std::size_t>(r * k + i)];
              const float y = b[static_cast<std::size_t>(transposed ? i * kN + n : n * k + i)];
              sum = table->exact_f32_fma ? std::fma(x, y, sum) : sum + x * y;
            }
            expected.push_back(sum);
          }
        CHECK(same_bits(out, expected));
      }
}

TEST_CASE("rows are gathered byte by byte") {
  for (const KernelTable* table : tables_under_test()) {
    const std::vector<std::int16_t> x = {0, 1, 2, 9, 10, 11, 12, 9, 20, 21, 22, 9};
    const std::vector<std::int64_t> indices = {2, 0, 2, 1};
    std::vector<std::int16_t> out(12);
    table->gather_rows(launch_of(2), {out.data(), x.data(), indices.data(), 4, 6, 8});
    CHECK(out == std::vector<std::int16_t>{20, 21, 22, 0, 1, 2, 20, 21, 22, 10, 11, 12});
  }
}
