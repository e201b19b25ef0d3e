#include "kernels/own_block_writers.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/block_bytes.h"
#include "kernels/block_formats_own.h"
#include "kernels/scale_search.h"

namespace perilune::kernels {
namespace {

constexpr int kRowBlock = 64;  // of INT8_ROW
constexpr int kDoubleGroup = 32;

float largest(const float* values, std::int64_t count) {
  float found = 0;
  for (std::int64_t i = 0; i < count; ++i) found = std::max(found, std::fabs(values[i]));
  return found;
}

float inverse(float scale) {
  return std::fabs(scale) > 1e-30f ? 1 / scale : 0;
}

void store_f32(float value, std::uint8_t* to) {
  store_u32(std::bit_cast<std::uint32_t>(value), to);
}

/// The first half of `count` codes below, the other above.
void pack_nibbles(const int* codes, int count, std::uint8_t* to) {
  for (int i = 0; i < count / 2; ++i)
    to[i] = static_cast<std::uint8_t>((codes[i] & 15) | (codes[i + count / 2] & 15) << 4);
}

/// A table's levels in rising order, with the codes that stand for them.
struct Levels {
  float rising[16];
  int codes[16];
  explicit Levels(const float* levels) {
    for (int i = 0; i < 16; ++i) codes[i] = i;
    std::stable_sort(codes, codes + 16, [&](int a, int b) { return levels[a] < levels[b]; });
    for (int i = 0; i < 16; ++i) rising[i] = levels[codes[i]];
  }
  int nearest(float value) const {
    int place = 0;
    for (int i = 1; i < 16; ++i) place += value > 0.5f * (rising[i - 1] + rising[i]) ? 1 : 0;
    return codes[place];
  }
};

const Levels& nf4() {
  static const Levels levels(kNf4Levels);
  return levels;
}
const Levels& fp4() {
  static const Levels levels(kFp4Levels);
  return levels;
}

template <int kCount>
void write_levels(const Levels& levels, const float* values, std::uint8_t* block) {
  const float scale = largest(values, kCount), factor = inverse(scale);
  int codes[kCount];
  for (int i = 0; i < kCount; ++i) codes[i] = levels.nearest(values[i] * factor);
  store_f32(scale, block);
  pack_nibbles(codes, kCount, block + 4);
}

/// f16 scale, eight bytes of magnitudes, codes of each group of 32.
void write_double(const Levels& levels, const float* values, std::uint8_t* block) {
  store_f16(largest(values, kNestedBlock) / 127, block);
  const float unit = load_f16(block), steps = inverse(unit);
  for (int group = 0; group < kNestedBlock / kDoubleGroup; ++group) {
    const float* of_group = values + group * kDoubleGroup;
    const float magnitude = std::round(largest(of_group, kDoubleGroup) * steps);
    const float held = std::min(magnitude, 127.0f);
    const float factor = inverse(unit * held);
    int codes[kDoubleGroup];
    for (int i = 0; i < kDoubleGroup; ++i) codes[i] = levels.nearest(of_group[i] * factor);
    block[2 + group] = static_cast<std::uint8_t>(held);
    pack_nibbles(codes, kDoubleGroup, block + 10 + group * kDoubleGroup / 2);
  }
}

std::uint8_t rounded_byte(float value) {
  const float held = std::clamp(std::round(value), -127.0f, 127.0f);
  return static_cast<std::uint8_t>(static_cast<std::int8_t>(held));
}

template <int kCount>
void write_signed(const float* values, std::uint8_t* block) {
  store_f16(fit_scale(values, kCount, -8, 7), block);
  const float factor = inverse(load_f16(block));
  int codes[kCount];
  for (int i = 0; i < kCount; ++i)
    codes[i] = static_cast<int>(nearest_code(values[i], factor, -8, 7)) + 8;
  pack_nibbles(codes, kCount, block + 2);
}

/// Scale and zero point of codes 0 to 15 for values from `low` to `high`.
struct Range {
  float scale = 0;
  int zero = 0;
};
Range range_of(float low, float high) {
  Range range;
  range.scale = f16_to_f32(f32_to_f16((high - low) / 15));
  range.zero = static_cast<int>(std::clamp(std::round(-low * inverse(range.scale)), 0.0f, 15.0f));
  return range;
}

template <int kCount>
void write_with_zero(const float* values, std::uint8_t* block) {
  constexpr int kParts = 12;  // of the range that are tried
  const auto [smallest, greatest] = std::minmax_element(values, values + kCount);
  const float low = std::min(*smallest, 0.0f), high = std::max(*greatest, 0.0f);
  Range best;
  float least = INFINITY;
  for (int i = 0; i < kParts; ++i) {
    const float part = 1 - 0.03f * static_cast<float>(i);
    const Range range = range_of(low * part, high * part);
    const float error = squared_error(values, kCount, range.scale, 0, -range.zero, 15 - range.zero);
    if (error >= least) continue;
    least = error;
    best = range;
  }
  const float factor = inverse(best.scale);
  int codes[kCount];
  for (int i = 0; i < kCount; ++i) {
    codes[i] =
        best.zero + static_cast<int>(nearest_code(values[i], factor, -best.zero, 15 - best.zero));
  }
  store_f16(best.scale, block);
  block[2] = static_cast<std::uint8_t>(best.zero);
  pack_nibbles(codes, kCount, block + 3);
}

}  // namespace

void write_nf4(const float* values, std::uint8_t* block) {
  write_levels<64>(nf4(), values, block);
}
void write_nf4_32(const float* values, std::uint8_t* block) {
  write_levels<32>(nf4(), values, block);
}
void write_fp4(const float* values, std::uint8_t* block) {
  write_levels<64>(fp4(), values, block);
}
void write_fp4_32(const float* values, std::uint8_t* block) {
  write_levels<32>(fp4(), values, block);
}
void write_nf4_double(const float* values, std::uint8_t* block) {
  write_double(nf4(), values, block);
}
void write_fp4_double(const float* values, std::uint8_t* block) {
  write_double(fp4(), values, block);
}

void write_int8_row(const float* row, std::int64_t inputs, std::uint8_t* blocks) {
  const float scale = largest(row, inputs) / 127, factor = inverse(scale);
  for (std::int64_t first = 0; first < inputs; first += kRowBlock, blocks += 4 + kRowBlock) {
    store_f32(scale, blocks);
    for (std::int64_t i = first; i < first + kRowBlock; ++i)
      blocks[4 + i - first] = rounded_byte(i < inputs ? row[i] * factor : 0);
  }
}

void write_int8(const float* values, std::uint8_t* block) {
  store_f16(largest(values, 32) / 127, block);
  const float factor = inverse(load_f16(block));
  for (int i = 0; i < 32; ++i) block[2 + i] = rounded_byte(values[i] * factor);
}

void write_int4_32(const float* values, std::uint8_t* block) {
  write_signed<32>(values, block);
}
void write_int4_64(const float* values, std::uint8_t* block) {
  write_signed<64>(values, block);
}
void write_int4_128(const float* values, std::uint8_t* block) {
  write_signed<128>(values, block);
}
void write_int4z_32(const float* values, std::uint8_t* block) {
  write_with_zero<32>(values, block);
}
void write_int4z_64(const float* values, std::uint8_t* block) {
  write_with_zero<64>(values, block);
}
void write_int4z_128(const float* values, std::uint8_t* block) {
  write_with_zero<128>(values, block);
}

}  // namespace perilune::kernels
