// Rope frequencies against values of the published formulas.
#include "engine/ops/rope_frequencies.h"

#include <cmath>

#include "engine/base/error.h"
#include "tests/catch.h"

using namespace perilune;

namespace {

RopeOptions plain(std::int64_t dims) {
  RopeOptions options;
  options.dims = dims;
  return options;
}

/// The formulas in double, written a second time, to a few ulp.
double exact(const RopeOptions& options, std::int64_t j) {
  return std::pow(options.theta, -2.0 * static_cast<double>(j) / static_cast<double>(options.dims));
}

void check_near(float value, double expected) {
  CHECK(std::abs(static_cast<double>(value) - expected) <= 4e-7 * std::abs(expected));
}

}  // namespace

TEST_CASE("default and linear frequencies") {
  RopeOptions options = plain(8);
  const auto frequencies = rope_frequencies(options, 0);
  REQUIRE(frequencies.size() == 4);
  CHECK(frequencies[0] == 1.0f);
  CHECK(frequencies[1] == 0.1f);
  for (int j = 0; j < 4; ++j)
    check_near(frequencies[static_cast<std::size_t>(j)], exact(options, j));
  options.scaling = RopeScaling::linear;
  options.factor = 4;
  const auto linear = rope_frequencies(options, 0);
  for (std::size_t j = 0; j < 4; ++j) CHECK(linear[j] == frequencies[j] / 4.0f);
  CHECK(rope_attention_scale(options) == 1.0f);
}

TEST_CASE("dynamic frequencies stretch only beyond the original length") {
  RopeOptions options = plain(16);
  options.scaling = RopeScaling::dynamic;
  options.factor = 3.7;
  options.original_max_positions = 64;
  const auto base = rope_frequencies(plain(16), 0);
  CHECK(rope_frequencies(options, 1) == base);
  CHECK(rope_frequencies(options, 64) == base);
  const auto longer = rope_frequencies(options, 65);
  CHECK(longer != base);
  const double stretched = 10000.0 * std::pow(3.7 * 100.0 / 64.0 - 2.7, 16.0 / 14.0);
  const auto at_100 = rope_frequencies(options, 100);
  for (std::size_t j = 0; j < 8; ++j) {
    const double expected = std::pow(stretched, -2.0 * static_cast<double>(j) / 16.0);
    CHECK(std::abs(static_cast<double>(at_100[j]) - expected) <= 2e-6 * expected);
  }
  CHECK(options.depends_on_length());
}

TEST_CASE("llama3 keeps short wavelengths and divides long ones") {
  RopeOptions options = plain(24);
  options.theta = 500000;
  options.scaling = RopeScaling::llama3;
  options.factor = 8;
  options.low_freq_factor = 1;
  options.high_freq_factor = 4;
  options.original_max_positions = 64;
  const auto scaled = rope_frequencies(options, 0);
  RopeOptions bare = plain(24);
  bare.theta = 500000;
  const auto base = rope_frequencies(bare, 0);
  bool kept = false, divided = false, blended = false;
  for (std::size_t j = 0; j < 12; ++j) {
    const double wavelength = 2 * 3.14159265358979 / static_cast<double>(base[j]);
    if (wavelength < 16) {
      CHECK(scaled[j] == base[j]);
      kept = true;
    } else if (wavelength > 64) {
      CHECK(scaled[j] == base[j] / 8.0f);
      divided = true;
    } else {
      const double smooth = (64 / wavelength - 1) / 3;
      check_near(scaled[j], (1 - smooth) * static_cast<double>(base[j]) / 8 +
                                smooth * static_cast<double>(base[j]));
      blended = true;
    }
  }
  CHECK(kept);
  CHECK(divided);
  CHECK(blended);
}

TEST_CASE("yarn blends between its two bounds, and scales attention") {
  RopeOptions options = plain(64);
  options.scaling = RopeScaling::yarn;
  options.factor = 4;
  options.original_max_positions = 2048;
  const auto scaled = rope_frequencies(options, 0);
  const auto base = rope_frequencies(plain(64), 0);
  // floor(64 ln(2048 / (32 * 2 pi)) / (2 ln 10000)) = 8; ceil(64 ln(2048 / (2 pi)) / ...) = 21
  for (std::size_t j = 0; j < 32; ++j) {
    const double ramp = std::min(1.0, std::max(0.0, (static_cast<double>(j) - 8) / (21 - 8)));
    const double expected =
        static_cast<double>(base[j]) * (1 - ramp) + static_cast<double>(base[j]) / 4 * ramp;
    check_near(scaled[j], expected);
  }
  check_near(rope_attention_scale(options), 0.1 * std::log(4.0) + 1.0);
  options.mscale = 0.707;
  options.mscale_all_dim = 1.0;
  check_near(rope_attention_scale(options),
             (0.0707 * std::log(4.0) + 1.0) / (0.1 * std::log(4.0) + 1.0));
  options.attention_factor = 1.25;
  CHECK(rope_attention_scale(options) == 1.25f);
  options.factor = 1;
  options.attention_factor = 0;
  CHECK(rope_attention_scale(options) == 1.0f);
}

TEST_CASE("longrope picks its factors by length") {
  RopeOptions options = plain(4);
  options.scaling = RopeScaling::longrope;
  options.original_max_positions = 8;
  options.factor = 4;
  options.short_factors = {1.0, 2.0};
  options.long_factors = {4.0, 8.0};
  const auto base = rope_frequencies(plain(4), 0);
  CHECK(rope_frequencies(options, 8)[0] == base[0]);
  check_near(rope_frequencies(options, 8)[1], static_cast<double>(base[1]) / 2);
  check_near(rope_frequencies(options, 9)[1], static_cast<double>(base[1]) / 8);
  check_near(rope_attention_scale(options), std::sqrt(1 + std::log(4.0) / std::log(8.0)));
  options.short_factors = {1.0};
  CHECK_THROWS_AS(rope_frequencies(options, 1), Error);
}

TEST_CASE("given factors divide, and must be as many as there are frequencies") {
  RopeOptions options = plain(4);
  options.given_factors = {1.0f, 4.0f};
  const auto base = rope_frequencies(plain(4), 0);
  CHECK(rope_frequencies(options, 0)[1] == base[1] / 4.0f);
  options.given_factors = {1.0f};
  CHECK_THROWS_AS(rope_frequencies(options, 0), Error);
  CHECK_THROWS_AS(rope_frequencies(plain(5), 0), Error);
  CHECK_THROWS_AS(rope_frequencies(plain(0), 0), Error);
  options = plain(4);
  options.scaling = RopeScaling::yarn;
  CHECK_THROWS_AS(rope_frequencies(options, 0), Error);  // no original length
}
