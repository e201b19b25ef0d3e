#include "tests/kernels/kernel_test.h"

using namespace kernel_test;

namespace {

bool is_half_nan(std::uint16_t bits) {
  return (bits & 0x7c00u) == 0x7c00u && (bits & 0x3ffu) != 0;
}
bool is_bf16_nan(std::uint16_t bits) {
  return (bits & 0x7f80u) == 0x7f80u && (bits & 0x7fu) != 0;
}

/// A half's value from its three fields.
double half_value(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 31, mantissa = bits & 0x3ff;
  const double magnitude = exponent == 0    ? std::ldexp(mantissa, -24)
                           : exponent == 31 ? (mantissa == 0 ? INFINITY : NAN)
                                            : std::ldexp(1024 + mantissa, exponent - 25);
  return (bits & 0x8000u) != 0 ? -magnitude : magnitude;
}

}  // namespace

TEST_CASE("every f16 widens to its value and comes back") {
  for (std::uint32_t i = 0; i < 0x10000u; ++i) {
    const auto bits = static_cast<std::uint16_t>(i);
    const float wide = f16_to_f32(bits);
    const std::uint16_t back = f32_to_f16(wide);
    if (is_half_nan(bits)) {
      if (!std::isnan(wide) || !is_half_nan(back)) FAIL("nan " << i);
    } else if (static_cast<double>(wide) != half_value(bits) || back != bits) {
      FAIL("f16 " << i << " -> " << wide << " -> " << back);
    }
  }
}

TEST_CASE("every bf16 widens and comes back") {
  for (std::uint32_t i = 0; i < 0x10000u; ++i) {
    const auto bits = static_cast<std::uint16_t>(i);
    const float wide = bf16_to_f32(bits);
    const std::uint16_t back = f32_to_bf16(wide);
    if (is_bf16_nan(bits) ? !(std::isnan(wide) && is_bf16_nan(back)) : back != bits)
      FAIL("bf16 " << i << " -> " << wide << " -> " << back);
  }
}

TEST_CASE("rounding goes to the nearest, ties to even") {
  // Midway between two neighbours, and one step of f32 to either side of it.
  for (std::uint32_t i = 0; i < 0x7bffu; ++i) {
    const auto low = static_cast<std::uint16_t>(i), high = static_cast<std::uint16_t>(i + 1);
    const float middle = (f16_to_f32(low) + f16_to_f32(high)) / 2;
    const std::uint16_t even = i % 2 == 0 ? low : high;
    if (f32_to_f16(middle) != even || f32_to_f16(std::nextafter(middle, 0.0f)) != low ||
        f32_to_f16(std::nextafter(middle, INFINITY)) != high)
      FAIL("f16 " << i);
  }
  for (std::uint32_t i = 0; i < 0x7f7fu; ++i) {
    const auto middle = std::bit_cast<float>((i << 16) | 0x8000u);
    if (f32_to_bf16(middle) != (i % 2 == 0 ? i : i + 1) ||
        f32_to_bf16(std::nextafter(middle, 0.0f)) != i ||
        f32_to_bf16(std::nextafter(middle, INFINITY)) != i + 1)
      FAIL("bf16 " << i);
  }
  CHECK(std::isinf(f16_to_f32(f32_to_f16(65520.0f))));
  CHECK(f16_to_f32(f32_to_f16(65519.0f)) == 65504.0f);
  CHECK(f32_to_f16(-0.0f) == 0x8000u);
}

TEST_CASE("products widen each stored format exactly") {
  // A product with a one-hot input returns the weight's own bits.
  for (const KernelTable* table : tables_under_test())
    for (const WeightFormat format : {WeightFormat::f16, WeightFormat::bf16}) {
      INFO(table->tier);
      constexpr std::int64_t kOutputs = 256, kInputs = 256;
      std::vector<std::uint16_t> source(kOutputs * kInputs);
      for (std::size_t i = 0; i < source.size(); ++i) source[i] = static_cast<std::uint16_t>(i);
      const auto widen = [&](std::uint16_t bits) {
        return format == WeightFormat::f16 ? f16_to_f32(bits) : bf16_to_f32(bits);
      };
      for (std::uint16_t& bits : source)
        if (!std::isfinite(widen(bits))) bits = 0;
      Buffer packed(table->packed_bytes(format, kOutputs, kInputs, MathMode::f32));
      const PackArguments pack = {source.data(), format,  kInputs,       1,
                                  kOutputs,      kInputs, MathMode::f32, packed.data()};
      table->pack(launch_of(1), pack);
      const PackedMatrix matrix = {
          packed.data(), nullptr, kOutputs, kInputs, table->packed_format(format, MathMode::f32),
          MathMode::f32};
      std::vector<float> x(kInputs), out(kOutputs);
      const LinearSegment segment = {matrix, nullptr, Activation::none, out.data(), kOutputs};
      const LinearArguments a = {x.data(), kInputs, 1, kInputs, MathMode::f32, 1.0f, &segment, 1};
      Buffer scratch(table->linear_scratch(a, 1));
      for (std::int64_t k = 0; k < kInputs; ++k) {
        std::fill(x.begin(), x.end(), 0.0f);
        x[static_cast<std::size_t>(k)] = 1.0f;
        table->linear(launch_of(1, &scratch), a);
        for (std::int64_t o = 0; o < kOutputs; ++o) {
          const float expected = widen(source[static_cast<std::size_t>(o * kInputs + k)]);
          if (out[static_cast<std::size_t>(o)] != expected)
            FAIL(table->tier << ": output " << o << " input " << k);
        }
      }
    }
}
