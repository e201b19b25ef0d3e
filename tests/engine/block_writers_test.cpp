// Numbers written as blocks: the reference quantizers' bytes, and what each format loses.
#include "kernels/coding.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "engine/base/file.h"
#include "engine/device/context.h"
#include "engine/weights/open_tensor_file.h"
#include "tests/catch.h"
#include "tests/engine/store_support.h"

using namespace perilune;
using namespace perilune_test;

namespace {

using Floats = std::vector<float>;

struct Written {
  std::vector<std::uint8_t> bytes;
  Floats values;  // what the blocks stand for
};

Written write(const kernels::BlockFormat& format, const Floats& values) {
  REQUIRE(format.write != nullptr);
  const auto elements = static_cast<std::size_t>(format.elements);
  const auto bytes = static_cast<std::size_t>(format.bytes);
  REQUIRE(values.size() % elements == 0);
  Written out;
  out.bytes.resize(values.size() / elements * bytes, 0xa5);
  out.values.resize(values.size());
  constexpr std::size_t kRow = 256;
  REQUIRE(values.size() % kRow == 0);
  for (std::size_t row = 0; row < values.size(); row += kRow)
    format.write(values.data() + row, kRow, out.bytes.data() + row / elements * bytes);
  for (std::size_t i = 0; i < values.size() / elements; ++i) {
    kernels::read_block_values(format, out.bytes.data() + i * bytes,
                               out.values.data() + i * elements);
  }
  return out;
}

Floats normal_values(std::size_t count, float deviation) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0, deviation);
  Floats values(count);
  for (float& value : values) value = normal(random);
  return values;
}

/// Root of the mean squared difference over that of the values.
double relative_error(const Floats& values, const Floats& written) {
  double squares = 0, lost = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    squares += double{values[i]} * values[i];
    lost += (double{values[i]} - written[i]) * (double{values[i]} - written[i]);
  }
  return std::sqrt(lost / squares);
}

/// Of values of a normal distribution; measured, a twentieth added.
struct Bound {
  const char* name;
  double most;
};
constexpr Bound kBounds[] = {
    {"Q4_0", 0.098},    {"Q4_1", 0.085},    {"Q5_0", 0.049},      {"Q5_1", 0.041},
    {"Q8_0", 0.0061},   {"Q2_K", 0.30},     {"Q3_K", 0.17},       {"Q4_K", 0.078},
    {"Q5_K", 0.038},    {"Q6_K", 0.0185},   {"IQ4_NL", 0.08},     {"MXFP4", 0.13},
    {"NF4", 0.1},       {"NF4_32", 0.09},   {"FP4", 0.13},        {"FP4_32", 0.12},
    {"INT8_ROW", 0.01}, {"INT8", 0.0061},   {"NF4_DOUBLE", 0.09}, {"FP4_DOUBLE", 0.12},
    {"INT4_32", 0.085}, {"INT4_64", 0.1},   {"INT4_128", 0.11},   {"INT4Z_32", 0.09},
    {"INT4Z_64", 0.1},  {"INT4Z_128", 0.11}};

}  // namespace

TEST_CASE("plain blocks are the bytes of the reference quantizers") {
  const std::string path = golden_folder() + "/quant/gguf-blocks.safetensors";
  if (!file_exists(path)) PERILUNE_SKIP("no reference values: " + path);
  const auto context = Context::make();
  const auto file = open_tensor_file(path);
  const Floats rows = read_tensor(context, *file, *file->find("rows")).to_floats();
  int compared = 0;
  for (const StoredTensor& stored : file->tensors()) {
    if (!stored.name.starts_with("rows.")) continue;
    INFO(stored.name);
    const Tensor expected = read_tensor(context, *file, stored);
    const auto* format = kernels::find_block_format(stored.name.substr(5).c_str());
    REQUIRE(format != nullptr);
    const Written written = write(*format, rows);
    REQUIRE(written.bytes.size() == expected.bytes());
    const auto* bytes = static_cast<const std::uint8_t*>(expected.data());
    CHECK(std::equal(written.bytes.begin(), written.bytes.end(), bytes));
    ++compared;
  }
  CHECK(compared == 5);
}

TEST_CASE("what each format loses of a normal distribution") {
  const Floats values = normal_values(256 * 64, 0.02f);
  for (const Bound& bound : kBounds) {
    const double error =
        relative_error(values, write(*kernels::find_block_format(bound.name), values).values);
    INFO(bound.name << " loses " << error);
    CHECK(error < bound.most);
    CHECK(error > bound.most / 2);  // the bound is no empty one
  }
}

TEST_CASE("values that blocks have are written as they are") {
  // Every code in use. The scales of types with minimums are an f16 over 15 or 63: near, not equal.
  struct Case {
    const char* name;
    int first, step, count;  // whole numbers that codes stand for
  };
  for (const Case& each :
       {Case{"Q3_K", -4, 1, 8}, Case{"Q6_K", -32, 1, 16}, Case{"Q6_K", 16, 1, 16},
        Case{"MXFP4", -6, 2, 7}, Case{"INT4_32", -5, 1, 11}, Case{"INT4_128", -8, 1, 16},
        Case{"INT4Z_64", -3, 1, 16}, Case{"INT8_ROW", -127, 1, 255}, Case{"INT8", -127, 8, 32},
        Case{"Q4_0", -8, 1, 16}, Case{"Q8_0", -127, 8, 32}}) {
    const kernels::BlockFormat& format = *kernels::find_block_format(each.name);
    INFO(each.name);
    Floats values(256);
    for (std::size_t i = 0; i < 256; ++i) {
      const int place = static_cast<int>(i) % each.count;
      values[i] = static_cast<float>(each.first + each.step * place) * 0.5f;
    }
    CHECK(relative_error(values, write(format, values).values) == 0);
  }
}

TEST_CASE("blocks of nothing, of one number and of the smallest and largest ones") {
  for (const Bound& bound : kBounds) {
    const kernels::BlockFormat& format = *kernels::find_block_format(bound.name);
    INFO(bound.name);
    CHECK(write(format, Floats(256, 0.0f)).values == Floats(256, 0.0f));
    for (const float number : {1.0f, -1.0f, 1e-30f, -1e-42f, 65504.0f, -65504.0f}) {
      Floats one(256, 0.0f), all(256, number);
      one[5] = number;
      for (const Floats& values : {one, all}) {
        const Floats written = write(format, values).values;
        for (std::size_t i = 0; i < values.size(); ++i) {
          REQUIRE(std::isfinite(written[i]));
          REQUIRE(std::fabs(written[i] - values[i]) <= 0.13f * std::fabs(number) + 1e-6f);
        }
      }
    }
  }
}
