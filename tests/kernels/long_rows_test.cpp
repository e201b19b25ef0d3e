// Rows longer than a thread block, and orders of many: where tiles, passes and merges begin.
#include <limits>
#include <numeric>

#include "tests/kernels/kernel_test.h"

using namespace kernel_test;

namespace {

/// Largest |a - b| relative to the largest partial sum.
double running_difference(const std::vector<float>& out, const std::vector<float>& x) {
  double sum = 0, largest = 1, worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    sum += static_cast<double>(x[i]);
    largest = std::max(largest, std::fabs(sum));
    worst = std::max(worst, std::fabs(static_cast<double>(out[i]) - sum));
  }
  return worst / largest;
}

/// Values with many ties, both zeros, infinities and NaN.
std::vector<float> tied_values(std::int64_t count, std::int64_t kinds, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> x;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t kind = random.below(kinds);
    if (kind == 0)
      x.push_back(random.below(2) == 0 ? 0.0f : -0.0f);
    else if (kind == 1 && random.below(8) == 0)
      x.push_back(random.below(2) == 0 ? INFINITY : -INFINITY);
    else if (kind == 2 && random.below(8) == 0)
      x.push_back(NAN);
    else
      x.push_back(static_cast<float>(kind - kinds / 2) * 0.37f);
  }
  return x;
}

std::vector<std::int64_t> sorted_indices(const float* x, std::int64_t width, bool descending) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(width));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t p, std::int64_t q) {
    if (std::isnan(x[p]) || std::isnan(x[q])) return !std::isnan(x[p]) && std::isnan(x[q]);
    return descending ? x[p] > x[q] : x[p] < x[q];
  });
  return order;
}

}  // namespace

TEST_CASE("the order of long rows, whole and in part, is that of a stable sort") {
  struct Case {
    std::int64_t width, count, kinds;
  };
  for (const KernelTable* table : tables_under_test())
    for (const Case& c : {Case{1, 1, 5}, Case{40, 33, 3}, Case{100, 100, 1000000},
                          Case{1000, 64, 7}, Case{1025, 1025, 50}, Case{2100, 1500, 100},
                          Case{5000, 5000, 1000000}, Case{9000, 3, 1000000}, Case{9001, 4097, 12}})
      for (const bool descending : {true, false}) {
        INFO(table->tier << " " << c.count << " of " << c.width << " descending " << descending);
        constexpr std::int64_t kRows = 3;
        const std::int64_t stride = c.width + 5;
        const std::vector<float> x = tied_values(kRows * stride, c.kinds, 3);
        std::vector<float> values(static_cast<std::size_t>(kRows * c.count));
        std::vector<std::int64_t> indices(values.size()), expected;
        table->top(launch_of(2), {values.data(), indices.data(), x.data(), stride, kRows, c.width,
                                  c.count, descending});
        for (std::int64_t r = 0; r < kRows; ++r) {
          const auto order = sorted_indices(x.data() + r * stride, c.width, descending);
          expected.insert(expected.end(), order.begin(), order.begin() + c.count);
        }
        CHECK(indices == expected);
        std::vector<float> chosen;
        for (std::size_t i = 0; i < expected.size(); ++i)
          chosen.push_back(
              x[static_cast<std::size_t>(static_cast<std::int64_t>(i) / c.count * stride) +
                static_cast<std::size_t>(expected[i])]);
        CHECK(same_bits(values, chosen));
      }
}

TEST_CASE("long rows are normalized, weighed and summed") {
  for (const KernelTable* table : tables_under_test())
    for (const std::int64_t width : {512, 513, 4096, 16385, 40000}) {
      INFO(table->tier << " width " << width);
      const auto size = static_cast<std::size_t>(width);
      const std::vector<float> x = Random(1).values(width, 2.0f);
      double mean = 0, squares = 0, deviations = 0, exponentials = 0;
      for (const float v : x) {
        mean += static_cast<double>(v) / static_cast<double>(width);
        squares += static_cast<double>(v) * static_cast<double>(v) / static_cast<double>(width);
        exponentials += std::exp(static_cast<double>(v));
      }
      for (const float v : x)
        deviations += std::pow(static_cast<double>(v) - mean, 2) / static_cast<double>(width);
      std::vector<double> rms, layer, weights;
      for (const float v : x) {
        rms.push_back(static_cast<double>(v) / std::sqrt(squares + 1e-6));
        layer.push_back((static_cast<double>(v) - mean) / std::sqrt(deviations + 1e-6));
        weights.push_back(std::exp(static_cast<double>(v)) / exponentials *
                          static_cast<double>(width));
      }
      std::vector<float> out(size, NAN), sum(size, NAN);
      const std::vector<float> zeros(size, 0.0f);
      NormArguments norm = {};
      norm.out = out.data();
      norm.x = x.data();
      norm.out_stride = norm.x_stride = norm.width = width;
      norm.rows = 1;
      norm.epsilon = 1e-6f;
      norm.residual = zeros.data();
      norm.sum = sum.data();
      table->rms_norm(launch_of(2), norm);
      CHECK(difference(out, rms) < 1e-6);
      CHECK(same_bits(sum, x));
      norm.residual = nullptr;
      norm.sum = nullptr;
      table->layer_norm(launch_of(2), norm);
      CHECK(difference(out, layer) < 1e-6);
      table->softmax(launch_of(2), {out.data(), x.data(), width, width, 1, width, false});
      for (float& v : out) v *= static_cast<float>(width);
      CHECK(difference(out, weights) < 2e-5);
      table->cumulative_sum(launch_of(2), {out.data(), x.data(), width, width, 1, width});
      CHECK(running_difference(out, x) < 1e-5);
    }
}

TEST_CASE("long reductions, and the same bits for a row alone and among others") {
  for (const KernelTable* table : tables_under_test())
    for (const std::int64_t width : {255, 256, 257, 8192, 30001})
      for (const Reduce op : {Reduce::sum, Reduce::mean, Reduce::maximum, Reduce::minimum,
                              Reduce::sum_squares, Reduce::argmax, Reduce::argmin}) {
        INFO(table->tier << " width " << width << " op " << static_cast<int>(op));
        constexpr std::int64_t kRows = 6;
        std::vector<float> x = Random(4).values(kRows * width, 2.0f);
        const std::int64_t best = width - 3;  // the extremes of row 5, each twice
        for (const std::int64_t at : {best, best + 2}) {
          x[static_cast<std::size_t>(5 * width + at)] = 5.0f;
          x[static_cast<std::size_t>(5 * width + at - 1)] = -5.0f;
        }
        std::vector<float> together(kRows), alone(1);
        std::vector<std::int64_t> offsets(kRows);
        const bool index = op == Reduce::argmax || op == Reduce::argmin;
        ReduceArguments a = {};
        a.op = op;
        a.rank = 2;
        a.reduced = 1;
        a.sizes[0] = kRows;
        a.sizes[1] = width;
        a.x = {x.data(), DType::f32, {width, 1}};
        a.out = {together.data(), DType::f32, {1}};
        if (index) a.out = {offsets.data(), DType::i64, {1}};
        table->reduce(launch_of(2), a);
        if (index) {
          CHECK(offsets[5] == (op == Reduce::argmax ? best : best - 1));
          continue;
        }
        a.sizes[0] = 1;
        a.x.data = x.data() + 5 * width;
        a.out.data = alone.data();
        table->reduce(launch_of(1), a);
        CHECK(same_bits(alone, {together[5]}));
        double sum = 0, squares = 0;
        for (std::int64_t i = 0; i < width; ++i) {
          const auto v = static_cast<double>(x[static_cast<std::size_t>(5 * width + i)]);
          sum += v;
          squares += v * v;
        }
        const auto result = static_cast<double>(alone[0]), count = static_cast<double>(width);
        if (op == Reduce::sum) CHECK(std::fabs(result - sum) < 1e-5 * count);
        if (op == Reduce::mean) CHECK(std::fabs(result - sum / count) < 1e-5);
        if (op == Reduce::sum_squares) CHECK(std::fabs(result / squares - 1) < 2e-5);
        if (op == Reduce::maximum) CHECK(result == 5);
        if (op == Reduce::minimum) CHECK(result == -5);
      }
}

TEST_CASE("nothing to reduce") {
  for (const KernelTable* table : tables_under_test())
    for (int op = 0; op <= static_cast<int>(Reduce::sum_squares); ++op) {
      INFO(table->tier << " op " << op);
      std::vector<float> x = {7};
      std::vector<float> out = {9, 9};
      std::vector<std::int64_t> offsets = {9, 9};
      const auto reduce = static_cast<Reduce>(op);
      ReduceArguments a = {};
      a.op = reduce;
      a.rank = 2;
      a.reduced = 1;
      a.sizes[0] = 2;
      a.x = {x.data(), DType::f32, {0, 1}};
      a.out = {out.data(), DType::f32, {1}};
      const bool index = reduce == Reduce::argmax || reduce == Reduce::argmin;
      if (index) a.out = {offsets.data(), DType::i64, {1}};
      table->reduce(launch_of(1), a);
      if (index)
        CHECK((offsets[0] == 0 && offsets[1] == 0));
      else if (reduce == Reduce::mean)
        CHECK((std::isnan(out[0]) && std::isnan(out[1])));
      else
        CHECK((out[0] == (reduce == Reduce::all ? 1.0f : 0.0f) && out[1] == out[0]));
    }
}
