#include "engine/files/gguf/blocks.h"

namespace perilune::gguf_blocks {
namespace {

constexpr int kBlock = 256;

/// Q4_K and Q5_K: eight six-bit scales and eight six-bit minima in 12 bytes.
struct SixBits {
  std::uint8_t scale[8], least[8];
};

SixBits six_bits(const std::uint8_t* packed) {
  SixBits all{};
  for (int i = 0; i < 4; ++i) {
    all.scale[i] = packed[i] & 63;
    all.least[i] = packed[i + 4] & 63;
    const std::uint8_t low = packed[i + 8];
    all.scale[i + 4] = static_cast<std::uint8_t>((low & 15) | (packed[i] >> 6) << 4);
    all.least[i + 4] = static_cast<std::uint8_t>((low >> 4) | (packed[i + 4] >> 6) << 4);
  }
  return all;
}

/// Q3_K: sixteen six-bit scales in 12 bytes, less 32.
int q3_scale(const std::uint8_t* packed, int i) {
  const int low = i < 8 ? packed[i] & 15 : packed[i - 8] >> 4;
  const int high = packed[8 + i % 4] >> (2 * (i / 4)) & 3;
  return (low | high << 4) - 32;
}

}  // namespace

void q2_k(const std::uint8_t* block, float* out) {
  const std::uint8_t* scales = block;
  const std::uint8_t* bits = block + 16;
  const float scale = load_f16(block + 80), least = load_f16(block + 82);
  for (int part = 0; part < 2; ++part, bits += 32) {
    for (int shift = 0; shift < 8; shift += 2) {
      for (int half = 0; half < 2; ++half) {
        const std::uint8_t both = *scales++;
        const float d = scale * static_cast<float>(both & 15);
        const float m = least * static_cast<float>(both >> 4);
        for (int i = 0; i < 16; ++i) {
          *out++ = d * static_cast<float>(bits[16 * half + i] >> shift & 3) - m;
        }
      }
    }
  }
}

void q3_k(const std::uint8_t* block, float* out) {
  const std::uint8_t* high = block;  // 32 bytes, a third bit for each value, clear: less 4
  const std::uint8_t* bits = block + 32;
  const std::uint8_t* scales = block + 96;
  const float scale = load_f16(block + 108);
  for (int group = 0; group < 16; ++group) {  // 16 values each
    const int part = group / 8, run = group / 2, shift = 2 * (run % 4), half = group % 2;
    const float d = scale * static_cast<float>(q3_scale(scales, group));
    for (int i = 0; i < 16; ++i) {
      const int at = 16 * half + i;
      const int value = (bits[32 * part + at] >> shift & 3) - ((high[at] >> run & 1) != 0 ? 0 : 4);
      *out++ = d * static_cast<float>(value);
    }
  }
}

void q4_k(const std::uint8_t* block, float* out) {
  const float scale = load_f16(block), least = load_f16(block + 2);
  const SixBits six = six_bits(block + 4);
  const std::uint8_t* bits = block + 16;
  for (int run = 0; run < 8; ++run) {  // 32 values each
    const float d = scale * static_cast<float>(six.scale[run]);
    const float m = least * static_cast<float>(six.least[run]);
    const int shift = 4 * (run % 2);
    for (int i = 0; i < 32; ++i) {
      *out++ = d * static_cast<float>(bits[32 * (run / 2) + i] >> shift & 15) - m;
    }
  }
}

void q5_k(const std::uint8_t* block, float* out) {
  const float scale = load_f16(block), least = load_f16(block + 2);
  const SixBits six = six_bits(block + 4);
  const std::uint8_t* high = block + 16;
  const std::uint8_t* bits = block + 48;
  for (int run = 0; run < 8; ++run) {
    const float d = scale * static_cast<float>(six.scale[run]);
    const float m = least * static_cast<float>(six.least[run]);
    const int shift = 4 * (run % 2);
    for (int i = 0; i < 32; ++i) {
      const int low = bits[32 * (run / 2) + i] >> shift & 15;
      *out++ = d * static_cast<float>(low | (high[i] >> run & 1) << 4) - m;
    }
  }
}

void q6_k(const std::uint8_t* block, float* out) {
  const std::uint8_t* low = block;
  const std::uint8_t* high = block + 128;
  const std::uint8_t* scales = block + 192;
  const float scale = load_f16(block + 208);
  for (int run = 0; run < 8; ++run) {  // 32 values each: 4 runs share 64 bytes and 32 bytes
    const int part = run / 4, quarter = run % 4;
    for (int i = 0; i < 32; ++i) {
      const int bits = low[64 * part + 32 * (quarter % 2) + i] >> (4 * (quarter / 2)) & 15;
      const int top = high[32 * part + i] >> (2 * quarter) & 3;
      const float d = scale * signed_byte(scales[2 * run + i / 16]);
      *out++ = d * static_cast<float>((bits | top << 4) - 32);
    }
  }
}

void q8_k(const std::uint8_t* block, float* out) {  // after the values: sums for products
  const float scale = load_f32(block);
  for (int i = 0; i < kBlock; ++i) out[i] = signed_byte(block[4 + i]) * scale;
}

}  // namespace perilune::gguf_blocks
