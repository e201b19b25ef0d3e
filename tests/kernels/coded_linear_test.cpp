// Products with weights of few bits: every published format, every mode, ragged shapes.
#include "tests/kernels/kernel_test.h"

using namespace kernel_test;

namespace {

/// Rows of blocks whose every byte is random, but whose scales are small finite numbers.
std::vector<std::uint8_t> random_blocks(const BlockFormat& format, std::int64_t rows,
                                        std::int64_t per_row, std::uint64_t seed) {
  const std::int64_t count = rows * per_row;
  Random random(seed);
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(count * format.bytes));
  std::vector<float> values(static_cast<std::size_t>(format.elements));
  const bool exponent_first = std::string(format.name) == "MXFP4";
  const bool scale_first = format.coding.scale == ScaleType::f32 && !exponent_first;
  const std::int64_t group_blocks =
      std::max<std::int64_t>(1, format.coding.group / format.elements);
  for (std::int64_t b = 0; b < count; ++b) {
    std::uint8_t* block = bytes.data() + b * format.bytes;
    for (bool usual = false; !usual;) {
      for (std::int64_t i = 0; i < format.bytes; ++i)
        block[i] = static_cast<std::uint8_t>(random.next() >> 33);
      if (exponent_first) block[0] = static_cast<std::uint8_t>(118 + random.below(8));
      if (scale_first) {
        const float scale = 0.02f + 0.01f * random.value();
        std::memcpy(block, &scale, sizeof scale);
        // A group that is longer than a block has one scale.
        const std::int64_t in_group = b % per_row % group_blocks;
        std::memcpy(block, block - in_group * format.bytes, sizeof scale);
      }
      read_block_values(format, block, values.data());
      usual = true;
      for (const float x : values) usual = usual && std::isfinite(x) && std::fabs(x) < 100;
    }
  }
  return bytes;
}

struct Weight {
  const BlockFormat* format;
  std::int64_t outputs, inputs;
  std::vector<std::uint8_t> blocks;
  std::vector<float> values;  // [output, input]
  Buffer packed;
  PackedMatrix matrix;
};

Weight make_weight(const KernelTable& table, const BlockFormat& format, std::int64_t outputs,
                   std::int64_t inputs, MathMode math, std::uint64_t seed) {
  const std::int64_t per_row = format.row_blocks(inputs);
  Weight weight = {&format, outputs,
                   inputs,  random_blocks(format, outputs, per_row, seed),
                   {},      Buffer(table.coded_bytes(format.coding, outputs, inputs)),
                   {}};
  std::vector<float> row(static_cast<std::size_t>(per_row * format.elements));
  for (std::int64_t o = 0; o < outputs; ++o) {
    for (std::int64_t b = 0; b < per_row; ++b)
      read_block_values(format, weight.blocks.data() + (o * per_row + b) * format.bytes,
                        row.data() + b * format.elements);
    weight.values.insert(weight.values.end(), row.begin(), row.begin() + inputs);
  }
  table.pack_coded(launch_of(2), {weight.blocks.data(), &format, per_row * format.bytes, outputs,
                                  inputs, weight.packed.data()});
  weight.matrix = {
      weight.packed.data(), &format.coding, outputs, inputs, WeightFormat::coded, math};
  return weight;
}

std::vector<float> run(const KernelTable& table, const Weight& weight, std::int64_t rows,
                       const std::vector<float>& x, int threads, float scale = 1.0f,
                       const float* bias = nullptr) {
  std::vector<float> out(static_cast<std::size_t>(rows * weight.outputs), NAN);
  const LinearSegment segment = {weight.matrix, bias, Activation::none, out.data(), weight.outputs};
  const LinearArguments a = {x.data(),
                             weight.inputs,
                             rows,
                             weight.inputs,
                             weight.matrix.math,
                             scale,
                             &segment,
                             1,
                             weight.matrix.input_order};
  Buffer scratch(table.linear_scratch(a, threads));
  table.linear(launch_of(threads, &scratch), a);
  return out;
}

/// How far `out` is from the product in double precision with x as it is: the root mean square of
/// the differences over that of sums of such terms with random signs, so that a sum which cancels
/// is not held against its rounding.
double relative_error(const Weight& weight, std::int64_t rows, const std::vector<float>& x,
                      const std::vector<float>& out) {
  double error = 0, size = 0;
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t o = 0; o < weight.outputs; ++o) {
      double sum = 0;
      for (std::int64_t k = 0; k < weight.inputs; ++k) {
        const double term =
            static_cast<double>(x[static_cast<std::size_t>(r * weight.inputs + k)]) *
            static_cast<double>(weight.values[static_cast<std::size_t>(o * weight.inputs + k)]);
        sum += term;
        size += term * term;
      }
      const double off =
          static_cast<double>(out[static_cast<std::size_t>(r * weight.outputs + o)]) - sum;
      error += off * off;
    }
  return std::sqrt(error / std::max(size, 1e-30));
}

/// The tables that multiply codes.
std::vector<const KernelTable*> coded_tables() {
  std::vector<const KernelTable*> tables;
  for (const KernelTable* table : tables_under_test())
    if (table->pack_coded != nullptr) tables.push_back(table);
  if (tables.empty()) perilune_test::note_skip("these kernels have no products with codes");
  return tables;
}

/// The slow ones; rows of the first know of no tile.
bool is_plain(const KernelTable& table) {
  const std::string tier = table.tier;
  return tier == "scalar" || tier == "wide";
}

struct Shape {
  std::int64_t rows, outputs, inputs;
};
std::vector<Shape> shapes() {
  return {{1, 1, 256}, {1, 70, 512}, {2, 33, 256}, {5, 64, 768}, {13, 97, 512}, {29, 40, 256}};
}

/// The modes that products with a format have.
std::vector<MathMode> modes(const BlockFormat& format) {
  if (format.coding.levels != nullptr) return {MathMode::f32, MathMode::bf16};
  return {MathMode::f32, MathMode::bf16, MathMode::int8};
}

/// Shapes whose rows are whole blocks, and, of formats that pad, others.
std::vector<Shape> shapes_of(const BlockFormat& format) {
  if (format.coding.scale == ScaleType::nested) return shapes();
  return {{1, 1, 256}, {5, 64, 512}, {29, 40, 256}, {1, 33, 200},
          {7, 40, 72}, {2, 5, 30},   {15, 17, 417}};
}

template <class Body>
void each_format(const Body& body) {
  for (int i = 0; block_format(i) != nullptr; ++i) {
    INFO(block_format(i)->name);
    body(*block_format(i));
  }
}

}  // namespace

TEST_CASE("products with codes agree with double precision and with the scalar table") {
  for (const KernelTable* table : coded_tables())
    each_format([&](const BlockFormat& format) {
      for (const MathMode math : modes(format))
        for (const Shape& shape : shapes_of(format)) {
          INFO(table->tier << " math " << static_cast<int>(math) << " rows " << shape.rows
                           << " outputs " << shape.outputs << " inputs " << shape.inputs);
          const Weight weight = make_weight(*table, format, shape.outputs, shape.inputs, math, 7);
          const Weight plain =
              make_weight(scalar_table(), format, shape.outputs, shape.inputs, math, 7);
          const std::vector<float> x = Random(11).values(shape.rows * shape.inputs);
          const std::vector<float> out = run(*table, weight, shape.rows, x, 1);
          const std::vector<float> expected = run(scalar_table(), plain, shape.rows, x, 1);
          if (table->exact_f32_fma && math != MathMode::bf16)
            CHECK(same_bits(out, expected));
          else
            CHECK(difference(out, expected) < 3e-5);
          const double bound =
              math == MathMode::f32 ? 1e-5 : (math == MathMode::bf16 ? 1e-2 : 2e-2);
          CHECK(relative_error(weight, shape.rows, x, out) < bound);
        }
    });
}

TEST_CASE("rows of a product with codes have their bits in every batch, on any number of threads",
          "[bits]") {
  for (const KernelTable* table : coded_tables())
    each_format([&](const BlockFormat& format) {
      for (const MathMode math : modes(format)) {
        INFO(table->tier << " math " << static_cast<int>(math));
        const std::int64_t rows = 31, inputs = is_plain(*table) ? 256 : 1024, outputs = 70;
        const Weight weight = make_weight(*table, format, outputs, inputs, math, 3);
        const std::vector<float> x = Random(5).values(rows * inputs);
        const std::vector<float> all = run(*table, weight, rows, x, 3);
        for (const std::int64_t some : {1, 2, 3, 7}) {
          const std::int64_t first = 11;
          const std::vector<float> part(x.begin() + first * inputs,
                                        x.begin() + (first + some) * inputs);
          const std::vector<float> out = run(*table, weight, some, part, 1);
          CHECK(same_bits(out,
                          {all.begin() + first * outputs, all.begin() + (first + some) * outputs}));
        }
      }
    });
}

TEST_CASE("1,000 random batches change no bit of a product with codes", "[bits]") {
  constexpr std::int64_t kRows = 12, kInputs = 256, kOutputs = 20, kMost = 7;
  for (const KernelTable* table : coded_tables()) {
    each_format([&](const BlockFormat& format) {
      for (const MathMode math : modes(format)) {
        INFO(table->tier << " math " << static_cast<int>(math));
        const Weight weight = make_weight(*table, format, kOutputs, kInputs, math, 3);
        const std::vector<float> x = Random(5).values(kRows * kInputs);
        const std::vector<float> all = run(*table, weight, kRows, x, 1);
        Random random(9);
        bool same = true;
        for (int batch = 0; batch < (is_plain(*table) ? 10 : 1000); ++batch) {
          std::vector<float> rows, expected;
          for (std::int64_t i = random.below(kMost); i >= 0; --i) {
            const std::int64_t row = random.below(kRows);
            rows.insert(rows.end(), x.begin() + row * kInputs, x.begin() + (row + 1) * kInputs);
            expected.insert(expected.end(), all.begin() + row * kOutputs,
                            all.begin() + (row + 1) * kOutputs);
          }
          const auto count = static_cast<std::int64_t>(rows.size()) / kInputs;
          same = same && same_bits(run(*table, weight, count, rows, 1), expected);
        }
        CHECK(same);
      }
    });
  }
}

TEST_CASE("weights of different codings in one product have the bits that they have alone",
          "[bits]") {
  constexpr std::int64_t kInputs = 512, kOutputs = 40;
  for (const KernelTable* table : coded_tables()) {
    std::vector<Weight> weights;
    for (const char* name : {"Q4_K", "Q4_1", "Q6_K", "Q8_0"})
      weights.push_back(
          make_weight(*table, *find_block_format(name), kOutputs, kInputs, MathMode::int8, 3));
    for (const std::int64_t rows : {1, 3, 8}) {
      INFO(table->tier << " rows " << rows);
      const std::vector<float> x = Random(5).values(rows * kInputs, 2.0f);
      std::vector<std::vector<float>> outs(
          weights.size(), std::vector<float>(static_cast<std::size_t>(rows * kOutputs), NAN));
      std::vector<LinearSegment> segments;
      for (std::size_t i = 0; i < weights.size(); ++i)
        segments.push_back(
            {weights[i].matrix, nullptr, Activation::none, outs[i].data(), kOutputs});
      const LinearArguments a = {x.data(),
                                 kInputs,
                                 rows,
                                 kInputs,
                                 MathMode::int8,
                                 1.0f,
                                 segments.data(),
                                 static_cast<std::int64_t>(segments.size())};
      Buffer scratch(table->linear_scratch(a, 2));
      table->linear(launch_of(2, &scratch), a);
      for (std::size_t i = 0; i < weights.size(); ++i)
        CHECK(same_bits(outs[i], run(*table, weights[i], rows, x, 1)));
    }
  }
}

TEST_CASE("rows of packed codes are read back as the format defines them") {
  for (const KernelTable* table : coded_tables())
    each_format([&](const BlockFormat& format) {
      const Weight weight = make_weight(*table, format, 37, 512, MathMode::f32, 9);
      std::vector<float> rows(3 * 512, NAN), expected;
      const std::vector<std::int32_t> ids = {36, 0, 17};
      table->embedding(launch_of(1), {rows.data(), ids.data(), 3, 0, weight.matrix, 1.0f});
      for (const std::int32_t id : ids)
        expected.insert(expected.end(), weight.values.begin() + id * 512,
                        weight.values.begin() + (id + 1) * 512);
      CHECK(same_bits(rows, expected));
    });
}

TEST_CASE("packed inputs in another order are multiplied by the inputs that they are") {
  for (const KernelTable* table : coded_tables())
    each_format([&](const BlockFormat& format) {
      constexpr std::int64_t kInputs = 256, kRows = 3;
      std::vector<std::int32_t> order(kInputs);
      for (std::int32_t k = 0; k < kInputs; ++k)
        order[static_cast<std::size_t>(k)] = (k * 37) % kInputs;
      for (const MathMode math : modes(format)) {
        INFO(table->tier << " math " << static_cast<int>(math));
        Weight weight = make_weight(*table, format, 40, kInputs, math, 4);
        const std::vector<float> x = Random(6).values(kRows * kInputs);
        std::vector<float> ordered;
        for (std::int64_t i = 0; i < kRows * kInputs; ++i)
          ordered.push_back(x[static_cast<std::size_t>(
              i / kInputs * kInputs + order[static_cast<std::size_t>(i % kInputs)])]);
        const std::vector<float> expected = run(*table, weight, kRows, ordered, 1);
        weight.matrix.input_order = order.data();
        CHECK(same_bits(run(*table, weight, kRows, x, 1), expected));
        std::vector<float> row(kInputs);
        const std::int64_t index = 21;
        table->unpack_rows(launch_of(1), weight.matrix, &index, 1, row.data());
        for (std::int64_t k = 0; k < kInputs; ++k)
          CHECK(row[static_cast<std::size_t>(order[static_cast<std::size_t>(k)])] ==
                weight.values[static_cast<std::size_t>(21 * kInputs + k)]);
      }
    });
}

TEST_CASE("in mode int8 a row with an infinity or a NaN is NaN, its neighbours are not") {
  for (const KernelTable* table : coded_tables()) {
    const Weight weight =
        make_weight(*table, *find_block_format("Q4_0"), 40, 256, MathMode::int8, 2);
    for (const float bad : {INFINITY, -INFINITY, NAN}) {
      std::vector<float> x = Random(5).values(3 * 256);
      x[256 + 100] = bad;
      const std::vector<float> out = run(*table, weight, 3, x, 1);
      for (std::int64_t r = 0; r < 3; ++r)
        for (std::int64_t o = 0; o < 40; ++o)
          CHECK(std::isnan(out[static_cast<std::size_t>(r * 40 + o)]) == (r == 1));
    }
  }
}

TEST_CASE("scale and bias follow the sum, zeros stay zeros in mode int8") {
  for (const KernelTable* table : coded_tables()) {
    const Weight weight =
        make_weight(*table, *find_block_format("Q5_1"), 40, 256, MathMode::int8, 2);
    const std::vector<float> bias = Random(3).values(40), zeros(256, 0.0f);
    CHECK(same_bits(run(*table, weight, 1, zeros, 1, 0.5f, bias.data()), bias));
    const std::vector<float> x = Random(4).values(256);
    std::vector<float> expected = run(*table, weight, 1, x, 1);
    for (std::size_t i = 0; i < expected.size(); ++i) expected[i] = expected[i] * 0.5f + bias[i];
    CHECK(same_bits(run(*table, weight, 1, x, 1, 0.5f, bias.data()), expected));
  }
}
