#include <limits>

#include "tests/kernels/kernel_test.h"

using namespace kernel_test;

namespace {

constexpr std::int64_t kWidths[] = {1, 3, 7, 8, 16, 31, 33, 64, 100, 257, 1000};

struct Norm {
  bool layer, residual, weighted;
  float offset;
};

/// Rows are 3 floats apart, with NaN in between.
struct NormRun {
  std::vector<float> out, sum;
};

NormRun run_norm(const KernelTable& table, const Norm& n, std::int64_t rows, std::int64_t width,
                 const std::vector<float>& x, const std::vector<float>& residual,
                 const std::vector<float>& weight, const std::vector<float>& bias, int threads) {
  NormRun run;
  run.out.assign(static_cast<std::size_t>(rows * width), NAN);
  run.sum.assign(x.size(), NAN);
  NormArguments a = {};
  a.out = run.out.data();
  a.x = x.data();
  a.out_stride = width;
  a.x_stride = width + 3;
  a.rows = rows;
  a.width = width;
  a.weight = n.weighted ? weight.data() : nullptr;
  a.bias = n.weighted ? bias.data() : nullptr;
  a.offset = n.offset;
  a.epsilon = 1e-5f;
  a.residual = n.residual ? residual.data() : nullptr;
  a.sum = n.residual ? run.sum.data() : nullptr;
  (n.layer ? table.layer_norm : table.rms_norm)(launch_of(threads), a);
  return run;
}

std::vector<double> norm_reference(const Norm& n, std::int64_t rows, std::int64_t width,
                                   const std::vector<float>& x, const std::vector<float>& residual,
                                   const std::vector<float>& weight,
                                   const std::vector<float>& bias) {
  std::vector<double> out;
  for (std::int64_t r = 0; r < rows; ++r) {
    std::vector<double> row;
    double mean = 0, squares = 0;
    for (std::int64_t i = 0; i < width; ++i) {
      const auto at = static_cast<std::size_t>(r * (width + 3) + i);
      row.push_back(static_cast<double>(n.residual ? x[at] + residual[at] : x[at]));
      mean += n.layer ? row.back() / static_cast<double>(width) : 0;
    }
    for (const double v : row) squares += (v - mean) * (v - mean) / static_cast<double>(width);
    for (std::size_t i = 0; i < row.size(); ++i) {
      const double w = (n.weighted ? static_cast<double>(weight[i]) : 1.0) +
                       (n.layer ? 0.0 : static_cast<double>(n.offset));
      const double b = n.weighted && n.layer ? static_cast<double>(bias[i]) : 0.0;
      out.push_back((row[i] - mean) / std::sqrt(squares + 1e-5) * w + b);
    }
  }
  return out;
}

}  // namespace

TEST_CASE("norms agree with double precision, row by row") {
  constexpr std::int64_t kRows = 5;
  for (const KernelTable* table : tables_under_test())
    for (const Norm& n :
         {Norm{false, false, true, 0}, Norm{false, true, true, 1}, Norm{false, false, false, 0},
          Norm{true, false, true, 0}, Norm{true, true, true, 0}, Norm{true, false, false, 0}})
      for (const std::int64_t width : kWidths) {
        INFO(table->tier << " layer " << n.layer << " width " << width);
        std::vector<float> x = Random(1).values(kRows * (width + 3), 3.0f);
        for (std::int64_t r = 0; r < kRows; ++r)
          std::fill_n(x.begin() + r * (width + 3) + width, 3, NAN);
        const std::vector<float> residual = Random(2).values(kRows * (width + 3), 3.0f);
        const std::vector<float> weight = Random(3).values(width), bias = Random(4).values(width);
        const NormRun run = run_norm(*table, n, kRows, width, x, residual, weight, bias, 2);
        CHECK(difference(run.out, norm_reference(n, kRows, width, x, residual, weight, bias)) <
              1e-5);
        const NormRun last =
            run_norm(*table, n, 1, width, {x.end() - (width + 3), x.end()},
                     {residual.end() - (width + 3), residual.end()}, weight, bias, 1);
        CHECK(same_bits(last.out, {run.out.end() - width, run.out.end()}));
        for (std::int64_t i = 0; n.residual && i < width; ++i) {
          const auto at = static_cast<std::size_t>(2 * (width + 3) + i);
          CHECK(run.sum[at] == x[at] + residual[at]);
        }
      }
}

TEST_CASE("softmax agrees with double precision; a row of -inf gives zeros") {
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  for (const KernelTable* table : tables_under_test())
    for (const std::int64_t width : kWidths)
      for (const bool logarithm : {false, true}) {
        INFO(table->tier << " width " << width << " logarithm " << logarithm);
        constexpr std::int64_t kRows = 4;
        std::vector<float> x = Random(5).values(kRows * width, 20.0f), out(x.size(), NAN);
        std::fill_n(x.begin() + width, width, kLowest);
        if (width > 2) x[1] = kLowest;
        const SoftmaxArguments a = {out.data(), x.data(), width, width, kRows, width, logarithm};
        table->softmax(launch_of(2), a);
        std::vector<double> expected;
        for (std::int64_t r = 0; r < kRows; ++r) {
          double total = 0, highest = -INFINITY;
          const float* row = x.data() + r * width;
          for (std::int64_t i = 0; i < width; ++i)
            highest = std::max(highest, static_cast<double>(row[i]));
          for (std::int64_t i = 0; i < width; ++i)
            total += std::exp(static_cast<double>(row[i]) - highest);
          for (std::int64_t i = 0; i < width; ++i) {
            const double shifted = static_cast<double>(row[i]) - highest;
            if (r == 1)
              expected.push_back(logarithm ? -INFINITY : 0.0);
            else
              expected.push_back(logarithm ? shifted - std::log(total) : std::exp(shifted) / total);
          }
        }
        CHECK(difference(out, expected) < 1e-6);
      }
}

TEST_CASE("activations: accurate, and the same bits fused, gated and on their own") {
  for (const KernelTable* table : tables_under_test())
    for (const Activation activation : kActivations) {
      INFO(table->tier << " activation " << static_cast<int>(activation));
      std::vector<float> x = Random(6).values(1013, 12.0f);
      for (int i = 0; i < 200; ++i) x[static_cast<std::size_t>(i)] *= 0.01f;
      x[300] = 0.0f;
      x[301] = 100.0f;
      x[302] = -100.0f;
      std::vector<float> ones(x.size(), 1.0f), out(x.size(), NAN);
      const auto count = static_cast<std::int64_t>(x.size());
      table->gated(launch_of(3), {out.data(), x.data(), ones.data(), count, activation});
      std::vector<float> alone(x.size(), NAN);
      table->gated(launch_of(3), {alone.data(), x.data(), nullptr, count, activation});
      CHECK(same_bits(alone, out));
      double worst = 0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        const auto value = static_cast<double>(x[i]);
        const double expected = reference_activation(activation, value);
        worst = std::max(worst, std::fabs(static_cast<double>(out[i]) - expected) /
                                    std::max({1.0, std::fabs(value), std::fabs(expected)}));
      }
      CHECK(worst < 5e-7);

      constexpr Unary kOps[] = {Unary::abs,  Unary::gelu, Unary::gelu_tanh, Unary::quick_gelu,
                                Unary::relu, Unary::silu, Unary::tanh,      Unary::sigmoid};
      if (activation != Activation::none && activation <= Activation::sigmoid) {
        std::vector<float> single(x.size(), NAN), strided(x.size(), NAN);
        UnaryArguments a = {};
        a.op = kOps[static_cast<int>(activation)];
        a.rank = 1;
        a.sizes[0] = count;
        a.out = {single.data(), DType::f32, {1}};
        a.x = {x.data(), DType::f32, {1}};
        table->unary(launch_of(2), a);
        CHECK(same_bits(single, out));
        a.out = {strided.data() + count - 1, DType::f32, {-1}};  // back to front
        table->unary(launch_of(1), a);
        std::reverse(strided.begin(), strided.end());
        CHECK(same_bits(strided, out));
      }

      // A product with the identity leaves x, so the fused activation must give the same bits.
      const std::vector<float> one = {1.0f};
      Buffer packed(table->packed_bytes(WeightFormat::f32, 1, 1, MathMode::f32));
      table->pack(launch_of(1),
                  {one.data(), WeightFormat::f32, 1, 1, 1, 1, MathMode::f32, packed.data()});
      std::vector<float> fused(x.size(), NAN);
      const LinearSegment segment = {
          {packed.data(), nullptr, 1, 1, WeightFormat::f32, MathMode::f32},
          nullptr,
          activation,
          fused.data(),
          1};
      const LinearArguments linear = {x.data(), 1, count, 1, MathMode::f32, 1.0f, &segment, 1};
      Buffer scratch(table->linear_scratch(linear, 1));
      table->linear(launch_of(1, &scratch), linear);
      CHECK(same_bits(fused, out));
    }
}

TEST_CASE("a NaN passes through every activation") {
  for (const KernelTable* table : tables_under_test())
    for (const Activation activation : kActivations) {
      INFO(table->tier << " activation " << static_cast<int>(activation));
      const std::vector<float> x = {1.0f, NAN, -1.0f}, ones(3, 1.0f);
      std::vector<float> out(3);
      table->gated(launch_of(1), {out.data(), x.data(), ones.data(), 3, activation});
      CHECK(std::isnan(out[1]));
      CHECK_FALSE(std::isnan(out[0]));
      CHECK_FALSE(std::isnan(out[2]));
      std::vector<float> alone(3);
      table->gated(launch_of(1), {alone.data(), x.data(), nullptr, 3, activation});
      CHECK(std::isnan(alone[1]));
      CHECK_FALSE(std::isnan(alone[0]));
    }
}

TEST_CASE("rotary tables and rotations") {
  for (const KernelTable* table : tables_under_test())
    for (const bool interleaved : {false, true})
      for (const std::int64_t pairs : {1, 4, 13, 32}) {
        INFO(table->tier << " pairs " << pairs << " interleaved " << interleaved);
        constexpr std::int64_t kRows = 5, kHeads = 3;
        const std::int64_t head_dim = 2 * pairs + 3;
        const std::vector<std::int32_t> positions = {0, 1, 77, 4000, 100000};
        const std::vector<std::int32_t> variants = {0, 1, 0, 1, 1};
        const std::vector<float> frequencies = Random(1).values(2 * pairs);
        std::vector<float> cosine(static_cast<std::size_t>(kRows * pairs)), sine(cosine.size());
        table->rope_table(launch_of(2), {cosine.data(), sine.data(), positions.data(), kRows, pairs,
                                         frequencies.data(), variants.data(), 1.5f});
        std::vector<double> cosines, sines;
        for (std::int64_t r = 0; r < kRows; ++r)
          for (std::int64_t j = 0; j < pairs; ++j) {
            const float angle = static_cast<float>(positions[static_cast<std::size_t>(r)]) *
                                frequencies[static_cast<std::size_t>(
                                    variants[static_cast<std::size_t>(r)] * pairs + j)];
            cosines.push_back(1.5 * std::cos(static_cast<double>(angle)));
            sines.push_back(1.5 * std::sin(static_cast<double>(angle)));
          }
        CHECK(difference(cosine, cosines) < 1e-6);
        CHECK(difference(sine, sines) < 1e-6);

        const std::vector<float> x = Random(2).values(kRows * kHeads * head_dim);
        std::vector<float> out(x.size(), NAN), expected = x;
        RopeArguments a = {out.data(), x.data(), cosine.data(), sine.data(), kRows,
                           kHeads,     head_dim, pairs,         interleaved};
        table->rope(launch_of(2), a);
        for (std::int64_t r = 0; r < kRows; ++r)
          for (std::int64_t h = 0; h < kHeads; ++h)
            for (std::int64_t j = 0; j < pairs; ++j) {
              float* head = expected.data() + (r * kHeads + h) * head_dim;
              float& p = head[interleaved ? 2 * j : j];
              float& q = head[interleaved ? 2 * j + 1 : j + pairs];
              const float c = cosine[static_cast<std::size_t>(r * pairs + j)];
              const float s = sine[static_cast<std::size_t>(r * pairs + j)];
              const float turned = p * c - q * s;
              q = q * c + p * s;
              p = turned;
            }
        CHECK(same_bits(out, expected));
        std::vector<float> in_place = x;
        a.out = in_place.data();
        a.x = in_place.data();
        table->rope(launch_of(1), a);
        CHECK(same_bits(in_place, expected));
      }
}

TEST_CASE("running sums, and the order of a row") {
  for (const KernelTable* table : tables_under_test()) {
    INFO(table->tier);
    const std::vector<float> x = {3, 1, NAN, 2, 3, -1, /**/ 0, 0, 0, 5, 5, 5};
    std::vector<float> sums(12);
    table->cumulative_sum(launch_of(1), {sums.data(), x.data(), 6, 6, 2, 6});
    CHECK(sums[1] == 4.0f);
    CHECK(std::isnan(sums[5]));
    CHECK(std::vector<float>(sums.begin() + 6, sums.end()) ==
          std::vector<float>{0, 0, 0, 5, 10, 15});
    const auto order = [&](std::int64_t count, bool descending) {
      std::vector<float> values(static_cast<std::size_t>(2 * count));
      std::vector<std::int64_t> indices(values.size());
      table->top(launch_of(1),
                 {values.data(), indices.data(), x.data(), 6, 2, 6, count, descending});
      for (std::size_t i = 0; i < values.size(); ++i) {
        const float expected =
            x[i / static_cast<std::size_t>(count) * 6 + static_cast<std::size_t>(indices[i])];
        CHECK((values[i] == expected || (std::isnan(values[i]) && std::isnan(expected))));
      }
      return indices;
    };
    using Indices = std::vector<std::int64_t>;
    CHECK(order(6, true) == Indices{0, 4, 3, 1, 5, 2, 3, 4, 5, 0, 1, 2});
    CHECK(order(6, false) == Indices{5, 1, 3, 0, 4, 2, 0, 1, 2, 3, 4, 5});
    CHECK(order(2, true) == Indices{0, 4, 3, 4});
    CHECK(order(1, false) == Indices{5, 0});
  }
}
