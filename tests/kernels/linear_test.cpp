#include "tests/kernels/linear_support.h"

using namespace kernel_test;

namespace {

struct Case {
  std::int64_t rows, outputs, inputs;
  WeightFormat format;
  MathMode math;
  float scale = 1.0f;
  bool biased = false;
  Activation activation = Activation::none;
};

std::vector<float> run(const KernelTable& table, const Case& c, const Weight& weight,
                       const std::vector<float>& x, const std::vector<float>& bias, int threads) {
  std::vector<float> out(static_cast<std::size_t>(c.rows * c.outputs), NAN);
  const LinearSegment segment = {weight.matrix, c.biased ? bias.data() : nullptr, c.activation,
                                 out.data(), c.outputs};
  const LinearArguments a = {x.data(), c.inputs, c.rows, c.inputs, c.math, c.scale, &segment, 1};
  Buffer scratch(table.linear_scratch(a, threads));
  table.linear(launch_of(threads, &scratch), a);
  return out;
}

std::vector<double> reference(const Case& c, const Weight& weight, const std::vector<float>& x,
                              const std::vector<float>& bias) {
  std::vector<double> out;
  const auto rounded = [&](float v) {
    return static_cast<double>(c.math == MathMode::bf16 ? bf16_to_f32(f32_to_bf16(v)) : v);
  };
  for (std::int64_t r = 0; r < c.rows; ++r)
    for (std::int64_t o = 0; o < c.outputs; ++o) {
      double sum = 0;
      for (std::int64_t k = 0; k < c.inputs; ++k)
        sum += rounded(x[static_cast<std::size_t>(r * c.inputs + k)]) *
               rounded(weight.values[static_cast<std::size_t>(o * c.inputs + k)]);
      sum = sum * static_cast<double>(c.scale) +
            (c.biased ? static_cast<double>(bias[static_cast<std::size_t>(o)]) : 0.0);
      out.push_back(reference_activation(c.activation, sum));
    }
  return out;
}

std::string describe(const KernelTable& table, const Case& c) {
  return std::string(table.tier) + " rows " + std::to_string(c.rows) + " outputs " +
         std::to_string(c.outputs) + " inputs " + std::to_string(c.inputs) + " format " +
         std::to_string(static_cast<int>(c.format)) + " math " +
         std::to_string(static_cast<int>(c.math)) + " activation " +
         std::to_string(static_cast<int>(c.activation));
}

std::vector<Case> cases() {
  std::vector<Case> list;
  const std::int64_t shapes[][3] = {{1, 1, 1},    {1, 16, 8},    {2, 33, 31},  {3, 130, 65},
                                    {5, 64, 300}, {7, 95, 257},  {13, 48, 96}, {29, 81, 577},
                                    {64, 17, 40}, {200, 40, 130}};
  for (const auto& shape : shapes)
    for (const WeightFormat format : {WeightFormat::f32, WeightFormat::f16, WeightFormat::bf16})
      for (const MathMode math : {MathMode::f32, MathMode::bf16})
        list.push_back({shape[0], shape[1], shape[2], format, math});
  for (const Activation activation : kActivations)
    list.push_back({9, 50, 70, WeightFormat::f32, MathMode::f32, 0.5f, true, activation});
  list.push_back({1, 50, 70, WeightFormat::bf16, MathMode::bf16, 1.0f, true, Activation::gelu});
  return list;
}

std::vector<float> row_of(const std::vector<float>& matrix, std::int64_t row, std::int64_t width) {
  return {matrix.begin() + row * width, matrix.begin() + (row + 1) * width};
}

}  // namespace

TEST_CASE("linear agrees with double precision, and with the scalar table") {
  for (const KernelTable* table : tables_under_test())
    for (const Case& c : cases()) {
      INFO(describe(*table, c));
      const Weight weight = make_weight(*table, c.outputs, c.inputs, c.format, c.math, 7);
      const std::vector<float> x = Random(11).values(c.rows * c.inputs);
      const std::vector<float> bias = Random(13).values(c.outputs);
      const std::vector<float> out = run(*table, c, weight, x, bias, 1);
      CHECK(difference(out, reference(c, weight, x, bias)) < 2e-5);

      const Weight plain = make_weight(scalar_table(), c.outputs, c.inputs, c.format, c.math, 7);
      const std::vector<float> expected = run(scalar_table(), c, plain, x, bias, 1);
      CHECK(difference(out, expected) < 2e-5);
      if (table->exact_f32_fma && c.math == MathMode::f32 && c.activation == Activation::none)
        CHECK(same_bits(out, expected));
    }
}

TEST_CASE("a row of a product has the same bits in every batch and on any number of threads",
          "[bits]") {
  for (const KernelTable* table : tables_under_test())
    for (const WeightFormat format : {WeightFormat::f32, WeightFormat::f16, WeightFormat::bf16})
      for (const MathMode math : {MathMode::f32, MathMode::bf16}) {
        Case c = {29, 333, 601, format, math, 0.25f, true, Activation::silu};
        INFO(describe(*table, c));
        const Weight weight = make_weight(*table, c.outputs, c.inputs, format, math, 3);
        const std::vector<float> x = Random(5).values(c.rows * c.inputs);
        const std::vector<float> bias = Random(6).values(c.outputs);
        const std::vector<float> whole = run(*table, c, weight, x, bias, 1);
        for (const int threads : {2, 3, 5})
          CHECK(same_bits(whole, run(*table, c, weight, x, bias, threads)));
        for (const std::int64_t rows : {1, 2, 3, 4, 6, 7, 12, 13, 28}) {
          c.rows = rows;
          for (const std::int64_t first : {std::int64_t{0}, 29 - rows}) {
            const std::vector<float> part(x.begin() + first * c.inputs,
                                          x.begin() + (first + rows) * c.inputs);
            const std::vector<float> out = run(*table, c, weight, part, bias, 1);
            for (std::int64_t r = 0; r < rows; ++r)
              CHECK(same_bits(row_of(out, r, c.outputs), row_of(whole, first + r, c.outputs)));
          }
        }
      }
}

TEST_CASE("a row has the same bits alone, among a few and among many", "[bits]") {
  // Row counts to both sides of where a device takes another kernel; parts from either end, so
  // that rows lie elsewhere in their tiles.
  for (const KernelTable* table : tables_under_test())
    for (const MathMode math : {MathMode::f32, MathMode::bf16})
      for (const std::int64_t inputs : {77, 700}) {
        constexpr std::int64_t kRows = 130;
        Case c = {kRows, 90, inputs, WeightFormat::bf16, math, 1.0f, true, Activation::none};
        INFO(describe(*table, c));
        const Weight weight = make_weight(*table, c.outputs, c.inputs, c.format, math, 3);
        const std::vector<float> x = Random(5).values(kRows * inputs);
        const std::vector<float> bias = Random(6).values(c.outputs);
        const std::vector<float> whole = run(*table, c, weight, x, bias, 2);
        for (const std::int64_t rows : {1, 2, 7, 8, 9, 16, 17, 32, 33, 64, 65, 129})
          for (const std::int64_t first : {std::int64_t{0}, kRows - rows}) {
            c.rows = rows;
            const std::vector<float> part(x.begin() + first * inputs,
                                          x.begin() + (first + rows) * inputs);
            const std::vector<float> out = run(*table, c, weight, part, bias, 1);
            const std::vector<float> expected(whole.begin() + first * c.outputs,
                                              whole.begin() + (first + rows) * c.outputs);
            CHECK(same_bits(out, expected));
          }
      }
}

TEST_CASE("many rows take several blocks and keep their bits") {
  const struct {
    std::int64_t rows, outputs, inputs;
    MathMode math;
  } shapes[] = {{401, 70, 520, MathMode::f32},
                {401, 70, 520, MathMode::bf16},
                {1290, 1500, 72, MathMode::bf16},
                {1290, 1500, 40, MathMode::f32}};
  for (const KernelTable* table : tables_under_test())
    for (const auto& shape : shapes)
      for (const WeightFormat format : {WeightFormat::f32, WeightFormat::bf16}) {
        Case c = {shape.rows, shape.outputs, shape.inputs, format, shape.math};
        INFO(describe(*table, c));
        const Weight weight = make_weight(*table, c.outputs, c.inputs, format, c.math, 3);
        const std::vector<float> x = Random(5).values(c.rows * c.inputs);
        const std::vector<float> whole = run(*table, c, weight, x, {}, 3);
        c.rows = 1;
        for (const std::int64_t row : {std::int64_t{0}, std::int64_t{5}, std::int64_t{191},
                                       std::int64_t{192}, std::int64_t{200}, shape.rows - 1})
          CHECK(same_bits(run(*table, c, weight, row_of(x, row, c.inputs), {}, 1),
                          row_of(whole, row, c.outputs)));
      }
}

TEST_CASE("segments that share an input equal products of their own") {
  for (const KernelTable* table : tables_under_test())
    for (const MathMode math : {MathMode::f32, MathMode::bf16})
      for (const std::int64_t rows : {1, 8, 19, 70}) {
        constexpr std::int64_t kInputs = 96, kStride = 130;
        const Weight first = make_weight(*table, 50, kInputs, WeightFormat::bf16, math, 1);
        const Weight second = make_weight(*table, 17, kInputs, WeightFormat::f32, math, 2);
        const Weight third = make_weight(*table, 33, kInputs, WeightFormat::f16, math, 4);
        const std::vector<float> x = Random(9).values(rows * kStride), bias = Random(8).values(17);
        std::vector<float> out(static_cast<std::size_t>(rows * 100), NAN);
        const LinearSegment segments[] = {
            {first.matrix, nullptr, Activation::none, out.data(), 100},
            {second.matrix, bias.data(), Activation::relu, out.data() + 50, 100},
            {third.matrix, nullptr, Activation::none, out.data() + 67, 100}};
        const auto run_all = [&](const LinearSegment* list, std::int64_t count, int threads) {
          const LinearArguments a = {x.data(), kStride, rows, kInputs, math, 1.0f, list, count};
          Buffer scratch(table->linear_scratch(a, threads));
          table->linear(launch_of(threads, &scratch), a);
        };
        run_all(segments, 3, 2);
        const std::vector<float> together = out;
        std::fill(out.begin(), out.end(), NAN);
        for (const LinearSegment& segment : segments) run_all(&segment, 1, 1);
        CHECK(same_bits(out, together));
        CHECK(std::none_of(out.begin(), out.end(), [](float v) { return std::isnan(v); }));
      }
}

TEST_CASE("a weight stored inputs first packs to the same matrix") {
  for (const KernelTable* table : tables_under_test())
    for (const MathMode math : {MathMode::f32, MathMode::bf16}) {
      const Weight weight = make_weight(*table, 37, 53, WeightFormat::f32, math, 1, true);
      const Case c = {4, 37, 53, WeightFormat::f32, math};
      const std::vector<float> x = Random(2).values(4 * 53);
      CHECK(difference(run(*table, c, weight, x, {}, 1), reference(c, weight, x, {})) < 1e-5);
    }
}

TEST_CASE("rows come back from the packed form as they were stored") {
  for (const KernelTable* table : tables_under_test())
    for (const WeightFormat format : {WeightFormat::f32, WeightFormat::f16, WeightFormat::bf16})
      for (const MathMode math : {MathMode::f32, MathMode::bf16})
        for (const std::int64_t inputs : {1, 8, 31}) {
          const Weight weight = make_weight(*table, 45, inputs, format, math, 21);
          const std::vector<std::int64_t> rows = {44, 0, 31, 32, 16};
          std::vector<float> out(static_cast<std::size_t>(5 * inputs));
          table->unpack_rows(launch_of(2), weight.matrix, rows.data(), 5, out.data());
          std::vector<float> expected, scaled;
          for (const std::int64_t row : rows)
            for (const float v : row_of(weight.values, row, inputs)) {
              expected.push_back(math == MathMode::bf16 ? bf16_to_f32(f32_to_bf16(v)) : v);
              scaled.push_back(expected.back() * 3.0f);
            }
          CHECK(same_bits(out, expected));
          const std::vector<std::int32_t> ids = {43, -1, 30, 31, 15};
          const EmbeddingArguments a = {out.data(), ids.data(), 5, 1, weight.matrix, 3.0f};
          table->embedding(launch_of(2), a);
          CHECK(same_bits(out, scaled));
        }
}

TEST_CASE("a NaN stays in its own row and output") {
  for (const KernelTable* table : tables_under_test())
    for (const MathMode math : {MathMode::f32, MathMode::bf16})
      for (const std::int64_t rows : {4, 14, 70}) {
        const Case c = {rows, 40, 64, WeightFormat::f32, math};
        const Weight weight = make_weight(*table, c.outputs, c.inputs, c.format, math, 1);
        std::vector<float> x = Random(2).values(c.rows * c.inputs);
        x[3 * 64 + 5] = NAN;
        const std::vector<float> out = run(*table, c, weight, x, {}, 1);
        for (std::int64_t r = 0; r < c.rows; ++r)
          for (const float v : row_of(out, r, c.outputs)) CHECK(std::isnan(v) == (r == 3));
      }
}
