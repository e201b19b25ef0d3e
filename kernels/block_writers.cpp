// Writers whose scale follows from the largest value of a block, as ggml's reference quantizers
// choose it.
#include "kernels/block_writers.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/block_bytes.h"

namespace perilune::kernels {
namespace {

constexpr int kCount = 32, kHalf = 16;

/// The value farthest from 0, the first of several.
float farthest(const float* values) {
  float found = 0;
  for (int i = 0; i < kCount; ++i)
    if (std::fabs(values[i]) > std::fabs(found)) found = values[i];
  return found;
}

/// 0 for scales that are 0 as an f16 anyway, whose inverse could be infinite.
float inverse(float scale) {
  return std::fabs(scale) > 1e-30f ? 1 / scale : 0;
}

void pack_nibbles(const std::uint8_t* codes, std::uint8_t* to) {
  for (int i = 0; i < kHalf; ++i)
    to[i] = static_cast<std::uint8_t>((codes[i] & 15) | (codes[i + kHalf] & 15) << 4);
}

/// The fifth bits of 32 codes, the first lowest.
void pack_fifth_bits(const std::uint8_t* codes, std::uint8_t* to) {
  std::uint32_t high = 0;
  for (int i = 0; i < kCount; ++i) high |= static_cast<std::uint32_t>(codes[i] >> 4 & 1) << i;
  store_u32(high, to);
}

/// Codes 0 to 2 * zero - 1 around `zero`, times a scale that is negative where the farthest value
/// is positive: the code 0 reaches farther than the last. The rounded sum is one rounding, as where
/// the reference was compiled with fused multiply-adds. Gives the scale.
float round_around(const float* values, int zero, std::uint8_t* codes) {
  const float scale = farthest(values) / static_cast<float>(-zero);
  const float factor = inverse(scale);
  for (int i = 0; i < kCount; ++i) {
    const float code = std::fma(values[i], factor, static_cast<float>(zero) + 0.5f);
    codes[i] = static_cast<std::uint8_t>(std::min(2 * zero - 1, static_cast<int>(code)));
  }
  return scale;
}

/// Codes 0 to `highest` between the smallest and the largest value. Gives scale and minimum.
std::pair<float, float> round_between(const float* values, int highest, std::uint8_t* codes) {
  const auto [low, high] = std::minmax_element(values, values + kCount);
  const float scale = (*high - *low) / static_cast<float>(highest);
  const float factor = inverse(scale);
  for (int i = 0; i < kCount; ++i) {
    const float code = (values[i] - *low) * factor + 0.5f;
    codes[i] = static_cast<std::uint8_t>(std::min(highest, static_cast<int>(code)));
  }
  return {scale, *low};
}

}  // namespace

void write_q4_0(const float* values, std::uint8_t* block) {
  std::uint8_t codes[kCount];
  store_f16(round_around(values, 8, codes), block);
  pack_nibbles(codes, block + 2);
}

void write_q4_1(const float* values, std::uint8_t* block) {
  std::uint8_t codes[kCount];
  const auto [scale, minimum] = round_between(values, 15, codes);
  store_f16(scale, block);
  store_f16(minimum, block + 2);
  pack_nibbles(codes, block + 4);
}

void write_q5_0(const float* values, std::uint8_t* block) {
  std::uint8_t codes[kCount];
  store_f16(round_around(values, 16, codes), block);
  pack_fifth_bits(codes, block + 2);
  pack_nibbles(codes, block + 6);
}

void write_q5_1(const float* values, std::uint8_t* block) {
  std::uint8_t codes[kCount];
  const auto [scale, minimum] = round_between(values, 31, codes);
  store_f16(scale, block);
  store_f16(minimum, block + 2);
  pack_fifth_bits(codes, block + 4);
  pack_nibbles(codes, block + 8);
}

void write_q8_0(const float* values, std::uint8_t* block) {
  const float scale = std::fabs(farthest(values)) / 127;
  const float factor = inverse(scale);
  store_f16(scale, block);
  for (int i = 0; i < kCount; ++i) {
    const auto code = static_cast<std::int8_t>(std::round(values[i] * factor));
    block[2 + i] = static_cast<std::uint8_t>(code);
  }
}

}  // namespace perilune::kernels
