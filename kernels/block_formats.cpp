// GGUF's quantized types whose values are whole numbers times a scale, as ggml lays them out
// (ggml-quants.c, ggml-common.h).
#include <algorithm>
#include <bit>
#include <cstring>

#include "kernels/block_bytes.h"
#include "kernels/block_formats_own.h"
#include "kernels/block_writers.h"
#include "kernels/coding.h"

namespace perilune::kernels {
namespace {

constexpr int kHalf = 16;

/// Sixteen bytes hold 32 codes: the first sixteen below, the others above.
void split_nibbles(const std::uint8_t* packed, std::uint8_t* codes) {
  for (int i = 0; i < kHalf; ++i) {
    codes[i] = packed[i] & 15;
    codes[i + kHalf] = packed[i] >> 4;
  }
}

/// Five-bit numbers: four bits of `low` and a fifth of `high`, which has a bit each.
void split_five_bits(const std::uint8_t* low, std::uint32_t high, std::uint8_t* codes) {
  split_nibbles(low, codes);
  for (int i = 0; i < 2 * kHalf; ++i)
    codes[i] = static_cast<std::uint8_t>(codes[i] | (high >> i & 1) << 4);
}

void read_q4_0(const std::uint8_t* block, CodedBlock* to) {
  to->scale = load_f16(block);
  split_nibbles(block + 2, to->codes);
}

void read_q4_1(const std::uint8_t* block, CodedBlock* to) {
  to->scale = load_f16(block);
  to->minimum = load_f16(block + 2);
  split_nibbles(block + 4, to->codes);
}

void read_q5_0(const std::uint8_t* block, CodedBlock* to) {
  to->scale = load_f16(block);
  split_five_bits(block + 6, load_u32(block + 2), to->codes);
}

void read_q5_1(const std::uint8_t* block, CodedBlock* to) {
  to->scale = load_f16(block);
  to->minimum = load_f16(block + 2);
  split_five_bits(block + 8, load_u32(block + 4), to->codes);
}

void read_q8_0(const std::uint8_t* block, CodedBlock* to) {
  to->scale = load_f16(block);
  for (int i = 0; i < 2 * kHalf; ++i) to->codes[i] = block[2 + i] ^ 0x80;
}

/// Half of 2^(byte - 127), subnormal where it must be: the values of E2M1 are doubled.
void read_mxfp4(const std::uint8_t* block, CodedBlock* to) {
  const std::uint32_t exponent = block[0];
  to->scale = std::bit_cast<float>(exponent < 2 ? 0x00200000u << exponent : (exponent - 1) << 23);
  split_nibbles(block + 1, to->codes);
}

// ---------------------------------------------------------------- 256 values

/// Q4_K and Q5_K: eight six-bit scales and eight six-bit minimums in 12 bytes.
void read_six_bits(const std::uint8_t* packed, CodedBlock* to) {
  for (int i = 0; i < 4; ++i) {
    to->scales[i] = static_cast<std::int8_t>(packed[i] & 63);
    to->minimums[i] = static_cast<std::int8_t>(packed[i + 4] & 63);
    const std::uint8_t low = packed[i + 8];
    to->scales[i + 4] = static_cast<std::int8_t>((low & 15) | (packed[i] >> 6) << 4);
    to->minimums[i + 4] = static_cast<std::int8_t>((low >> 4) | (packed[i + 4] >> 6) << 4);
  }
}

void read_q2_k(const std::uint8_t* block, CodedBlock* to) {
  const std::uint8_t* bits = block + 16;
  to->scale = load_f16(block + 80);
  to->minimum = load_f16(block + 82);
  for (int group = 0; group < 16; ++group) {  // 16 values each
    to->scales[group] = static_cast<std::int8_t>(block[group] & 15);
    to->minimums[group] = static_cast<std::int8_t>(block[group] >> 4);
    const std::uint8_t* from = bits + 32 * (group / 8) + 16 * (group % 2);
    for (int i = 0; i < 16; ++i) to->codes[16 * group + i] = from[i] >> (2 * (group / 2 % 4)) & 3;
  }
}

/// Q3_K: sixteen six-bit scales in 12 bytes, less 32.
int q3_scale(const std::uint8_t* packed, int i) {
  const int low = i < 8 ? packed[i] & 15 : packed[i - 8] >> 4;
  const int high = packed[8 + i % 4] >> (2 * (i / 4)) & 3;
  return (low | high << 4) - 32;
}

void read_q3_k(const std::uint8_t* block, CodedBlock* to) {
  const std::uint8_t* high = block;  // a third bit for each value, clear: less 4
  const std::uint8_t* bits = block + 32;
  to->scale = load_f16(block + 108);
  for (int group = 0; group < 16; ++group) {  // 16 values each
    to->scales[group] = static_cast<std::int8_t>(q3_scale(block + 96, group));
    const int run = group / 2, shift = 2 * (run % 4), half = group % 2;
    for (int i = 0; i < 16; ++i) {
      const int at = 16 * half + i;
      const int top = (high[at] >> run & 1) << 2;
      to->codes[16 * group + i] =
          static_cast<std::uint8_t>((bits[32 * (group / 8) + at] >> shift & 3) | top);
    }
  }
}

void read_q4_k(const std::uint8_t* block, CodedBlock* to) {
  to->scale = load_f16(block);
  to->minimum = load_f16(block + 2);
  read_six_bits(block + 4, to);
  const std::uint8_t* bits = block + 16;
  for (int run = 0; run < 8; ++run)  // 32 values each
    for (int i = 0; i < 32; ++i)
      to->codes[32 * run + i] = bits[32 * (run / 2) + i] >> (4 * (run % 2)) & 15;
}

void read_q5_k(const std::uint8_t* block, CodedBlock* to) {
  to->scale = load_f16(block);
  to->minimum = load_f16(block + 2);
  read_six_bits(block + 4, to);
  const std::uint8_t* high = block + 16;
  const std::uint8_t* bits = block + 48;
  for (int run = 0; run < 8; ++run)
    for (int i = 0; i < 32; ++i) {
      const int low = bits[32 * (run / 2) + i] >> (4 * (run % 2)) & 15;
      to->codes[32 * run + i] = static_cast<std::uint8_t>(low | (high[i] >> run & 1) << 4);
    }
}

void read_q6_k(const std::uint8_t* block, CodedBlock* to) {
  const std::uint8_t* high = block + 128;
  to->scale = load_f16(block + 208);
  std::memcpy(to->scales, block + 192, 16);
  for (int run = 0; run < 8; ++run) {  // 32 values each: 4 runs share 64 bytes and 32 bytes
    const int part = run / 4, quarter = run % 4;
    for (int i = 0; i < 32; ++i) {
      const int low = block[64 * part + 32 * (quarter % 2) + i] >> (4 * (quarter / 2)) & 15;
      const int top = high[32 * part + i] >> (2 * quarter) & 3;
      to->codes[32 * run + i] = static_cast<std::uint8_t>(low | top << 4);
    }
  }
}

void read_iq4_nl(const std::uint8_t* block, CodedBlock* to) {
  to->scale = load_f16(block);
  split_nibbles(block + 2, to->codes);
}

void read_iq4_xs(const std::uint8_t* block, CodedBlock* to) {
  to->scale = load_f16(block);
  const std::uint16_t high = load_u16(block + 2);
  for (int run = 0; run < 8; ++run) {
    const int low = block[4 + run / 2] >> (run % 2 * 4) & 15;
    to->scales[run] = static_cast<std::int8_t>((low | (high >> (2 * run) & 3) << 4) - 32);
    split_nibbles(block + 8 + 16 * run, to->codes + 32 * run);
  }
}

// ---------------------------------------------------------------- the registry

constexpr std::int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                        1,    13,   25,  38,  53,  69,  89,  113};
/// Twice the values of a 4-bit float (E2M1).
constexpr std::int8_t kE2m1Values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

constexpr Coding bits(int count, ScaleType scale, bool minimum, int zero, int group = 32,
                      const std::int8_t* values = nullptr) {
  return {static_cast<std::uint8_t>(count),
          static_cast<std::uint16_t>(group),
          scale,
          minimum,
          static_cast<std::int8_t>(zero),
          values};
}
constexpr Coding nibbles(ScaleType scale, bool minimum, int zero,
                         const std::int8_t* values = nullptr) {
  return bits(4, scale, minimum, zero, 32, values);
}

constexpr BlockFormat kFormats[] = {
    {"Q4_0", 32, 18, nibbles(ScaleType::f16, false, 8), read_q4_0, write_row<write_q4_0, 32, 18>},
    {"Q4_1", 32, 20, nibbles(ScaleType::f16, true, 0), read_q4_1, write_row<write_q4_1, 32, 20>},
    {"Q5_0", 32, 22, bits(5, ScaleType::f16, false, 16), read_q5_0, write_row<write_q5_0, 32, 22>},
    {"Q5_1", 32, 24, bits(5, ScaleType::f16, true, 0), read_q5_1, write_row<write_q5_1, 32, 24>},
    {"Q8_0", 32, 34, bits(8, ScaleType::f16, false, 0), read_q8_0, write_row<write_q8_0, 32, 34>},
    {"Q2_K", 256, 84, bits(2, ScaleType::nested, true, 0, 16), read_q2_k,
     write_row<write_q2_k, 256, 84>},
    {"Q3_K", 256, 110, bits(3, ScaleType::nested, false, 4, 16), read_q3_k,
     write_row<write_q3_k, 256, 110>},
    {"Q4_K", 256, 144, nibbles(ScaleType::nested, true, 0), read_q4_k,
     write_row<write_q4_k, 256, 144>},
    {"Q5_K", 256, 176, bits(5, ScaleType::nested, true, 0), read_q5_k,
     write_row<write_q5_k, 256, 176>},
    {"Q6_K", 256, 210, bits(6, ScaleType::nested, false, 32, 16), read_q6_k,
     write_row<write_q6_k, 256, 210>},
    {"IQ4_NL", 32, 18, nibbles(ScaleType::f16, false, 0, kIq4Values), read_iq4_nl,
     write_row<write_iq4_nl, 32, 18>},
    {"IQ4_XS", 256, 136, nibbles(ScaleType::nested, false, 0, kIq4Values), read_iq4_xs},
    {"MXFP4", 32, 17, nibbles(ScaleType::f32, false, 0, kE2m1Values), read_mxfp4,
     write_row<write_mxfp4, 32, 17>},
};
constexpr int kFormatCount = sizeof(kFormats) / sizeof(kFormats[0]);

}  // namespace

const BlockFormat* block_format(int index) {
  if (index < 0) return nullptr;
  return index < kFormatCount ? &kFormats[index] : own_block_format(index - kFormatCount);
}

const BlockFormat* find_block_format(const char* name) {
  for (int i = 0; block_format(i) != nullptr; ++i)
    if (std::strcmp(block_format(i)->name, name) == 0) return block_format(i);
  return nullptr;
}

void read_block_values(const BlockFormat& format, const std::uint8_t* block, float* out) {
  CodedBlock coded;
  format.read(block, &coded);
  const Coding& coding = format.coding;
  const std::int64_t group = std::min<std::int64_t>(coding.group, format.elements);
  for (std::int64_t first = 0; first < format.elements; first += group) {
    float scale = coded.scale, minimum = coded.minimum;
    if (coding.scale == ScaleType::nested) {
      const std::int64_t index = first / group;
      scale = coded.scale * static_cast<float>(coded.scales[index]);
      if (coding.minimum) minimum = -(coded.minimum * static_cast<float>(coded.minimums[index]));
    }
    const int zero = coding.zero_points ? coded.zero_point : 0;
    for (std::int64_t i = first; i < first + group; ++i) {
      const int code = coded.codes[i];
      const float value = coding.levels != nullptr
                              ? coding.levels[code]
                              : static_cast<float>(code_value(coding, code) - zero);
      out[i] = coded_weight(coding, value, scale, minimum);
    }
  }
}

}  // namespace perilune::kernels
