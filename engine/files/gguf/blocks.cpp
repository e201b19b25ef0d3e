#include "engine/files/gguf/blocks.h"

#include <cmath>

namespace perilune::gguf_blocks {
namespace {

constexpr int kBlock = 32;
constexpr int kHalf = kBlock / 2;

/// Twice the values of a 4-bit float (E2M1).
constexpr float kShortFloats[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/// Half of an unsigned E4M3 number, for values that are doubled.
float half_of_e4m3(std::uint8_t byte) {
  if (byte == 0x7f || byte == 0) return 0.0f;
  const int exponent = byte >> 3 & 15;
  const float mantissa = static_cast<float>(byte & 7);
  if (exponent == 0) return std::ldexp(mantissa, -10);
  return std::ldexp(1.0f + mantissa / 8.0f, exponent - 8);
}

/// The digit of three that `byte` has in front after `power` = 3^n shifts, less one.
float ternary_digit(std::uint8_t byte, std::uint8_t power) {
  const auto shifted = static_cast<std::uint8_t>(byte * power);
  return static_cast<float>((shifted * 3 >> 8) - 1);
}

}  // namespace

void q8_1(const std::uint8_t* block, float* out) {  // bytes 2 and 3: a sum for products
  const float scale = load_f16(block);
  for (int i = 0; i < kBlock; ++i) out[i] = signed_byte(block[4 + i]) * scale;
}

void q8_k(const std::uint8_t* block, float* out) {  // after the values: sums for products
  const float scale = load_f32(block);
  for (int i = 0; i < 256; ++i) out[i] = signed_byte(block[4 + i]) * scale;
}

void q1_0(const std::uint8_t* block, float* out) {
  const float scale = load_f16(block);
  for (int i = 0; i < 128; ++i) out[i] = (block[2 + i / 8] >> (i % 8) & 1) != 0 ? scale : -scale;
}

void tq1_0(const std::uint8_t* block, float* out) {
  constexpr std::uint8_t kPowers[5] = {1, 3, 9, 27, 81};
  const float scale = load_f16(block + 52);
  const auto digits = [&](const std::uint8_t* from, int bytes, int powers) {
    for (int n = 0; n < powers; ++n) {
      for (int i = 0; i < bytes; ++i) *out++ = ternary_digit(from[i], kPowers[n]) * scale;
    }
  };
  digits(block, 32, 5);
  digits(block + 32, 16, 5);
  digits(block + 48, 4, 4);
}

void tq2_0(const std::uint8_t* block, float* out) {
  const float scale = load_f16(block + 64);
  for (int part = 0; part < 64; part += 32) {
    for (int shift = 0; shift < 8; shift += 2) {
      for (int i = 0; i < 32; ++i) {
        *out++ = static_cast<float>((block[part + i] >> shift & 3) - 1) * scale;
      }
    }
  }
}

void nvfp4(const std::uint8_t* block, float* out) {
  for (int part = 0; part < 4; ++part) {
    const float scale = half_of_e4m3(block[part]);
    const std::uint8_t* low = block + 4 + 8 * part;
    for (int i = 0; i < 8; ++i) {
      out[16 * part + i] = kShortFloats[low[i] & 15] * scale;
      out[16 * part + 8 + i] = kShortFloats[low[i] >> 4] * scale;
    }
  }
}

}  // namespace perilune::gguf_blocks
