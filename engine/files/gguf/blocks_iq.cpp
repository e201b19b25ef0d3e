#include <bit>

#include "engine/files/gguf/blocks.h"
#include "engine/files/gguf/grids.h"

namespace perilune::gguf_blocks {
namespace {

constexpr int kRuns = 8;  // of 32 values, in a block of 256

constexpr float kIq2Levels[4] = {8, 25, 43, 0};  // the code books never name the fourth
constexpr float kIq3XxsLevels[8] = {4, 12, 20, 28, 36, 44, 52, 62};
constexpr float kIq3SLevels[8] = {1, 3, 5, 7, 9, 11, 13, 15};
constexpr float kIq1Delta = 0.125f;

/// Eight signs from seven bits: the number of minus signs is even.
std::uint8_t even_signs(std::uint32_t bits) {
  bits &= 127;
  return static_cast<std::uint8_t>(bits | (std::popcount(bits) & 1u) << 7);
}

/// Eight values of an IQ2 code book.
float* put_iq2(std::uint16_t entry, std::uint8_t signs, float scale, float* out) {
  for (int i = 0; i < 8; ++i) {
    const float value = scale * kIq2Levels[entry >> (2 * i) & 3];
    *out++ = (signs >> i & 1) != 0 ? -value : value;
  }
  return out;
}

/// Four values of an IQ3 code book; `signs` has theirs in its low bits.
float* put_iq3(std::uint16_t entry, const float* levels, int signs, float scale, float* out) {
  for (int i = 0; i < 4; ++i) {
    const float value = scale * levels[entry >> (3 * i) & 7];
    *out++ = (signs >> i & 1) != 0 ? -value : value;
  }
  return out;
}

float* put_iq1(std::uint16_t entry, float delta, float scale, float* out) {
  for (int i = 0; i < 8; ++i) {
    *out++ = scale * (static_cast<float>((entry >> (2 * i) & 3) - 1) + delta);
  }
  return out;
}

float iq2_scale(float scale, int four_bits) {
  return scale * (0.5f + static_cast<float>(four_bits)) * 0.25f;
}

}  // namespace

void iq2_xxs(const std::uint8_t* block, float* out) {
  const float scale = load_f16(block);
  for (int run = 0; run < kRuns; ++run) {
    const std::uint8_t* indices = block + 2 + 8 * run;
    const std::uint32_t signs = load_u32(indices + 4);
    const float d = iq2_scale(scale, static_cast<int>(signs >> 28));
    for (int i = 0; i < 4; ++i) {
      out = put_iq2(kIq2XxsGrid[indices[i]], even_signs(signs >> (7 * i)), d, out);
    }
  }
}

void iq2_xs(const std::uint8_t* block, float* out) {
  const float scale = load_f16(block);
  const std::uint8_t* scales = block + 66;
  for (int run = 0; run < kRuns; ++run) {
    for (int i = 0; i < 4; ++i) {
      const std::uint16_t word = load_u16(block + 2 + 8 * run + 2 * i);
      const float d = iq2_scale(scale, scales[run] >> (i / 2 * 4) & 15);
      out = put_iq2(kIq2XsGrid[word & 511], even_signs(word >> 9), d, out);
    }
  }
}

void iq2_s(const std::uint8_t* block, float* out) {
  const float scale = load_f16(block);
  const std::uint8_t* low = block + 2;
  const std::uint8_t* signs = block + 34;
  const std::uint8_t* high = block + 66;
  const std::uint8_t* scales = block + 74;
  for (int run = 0; run < kRuns; ++run) {
    for (int i = 0; i < 4; ++i) {
      const int index = low[4 * run + i] | (high[run] >> (2 * i) & 3) << 8;
      const float d = iq2_scale(scale, scales[run] >> (i / 2 * 4) & 15);
      out = put_iq2(kIq2SGrid[index], signs[4 * run + i], d, out);
    }
  }
}

void iq3_xxs(const std::uint8_t* block, float* out) {
  const float scale = load_f16(block);
  for (int run = 0; run < kRuns; ++run) {
    const std::uint8_t* indices = block + 2 + 8 * run;
    const std::uint32_t signs = load_u32(block + 66 + 4 * run);
    const float d = scale * (0.5f + static_cast<float>(signs >> 28)) * 0.5f;
    for (int i = 0; i < 4; ++i) {
      const std::uint8_t eight = even_signs(signs >> (7 * i));
      out = put_iq3(kIq3XxsGrid[indices[2 * i]], kIq3XxsLevels, eight, d, out);
      out = put_iq3(kIq3XxsGrid[indices[2 * i + 1]], kIq3XxsLevels, eight >> 4, d, out);
    }
  }
}

void iq3_s(const std::uint8_t* block, float* out) {
  const float scale = load_f16(block);
  const std::uint8_t* low = block + 2;
  const std::uint8_t* high = block + 66;
  const std::uint8_t* signs = block + 74;
  const std::uint8_t* scales = block + 106;
  for (int run = 0; run < kRuns; ++run) {
    const float d = scale * static_cast<float>(1 + 2 * (scales[run / 2] >> (run % 2 * 4) & 15));
    for (int i = 0; i < 8; ++i) {
      const int index = low[8 * run + i] | (high[run] >> i & 1) << 8;
      out = put_iq3(kIq3SGrid[index], kIq3SLevels, signs[4 * run + i / 2] >> (i % 2 * 4), d, out);
    }
  }
}

void iq1_s(const std::uint8_t* block, float* out) {
  const float scale = load_f16(block);
  for (int run = 0; run < kRuns; ++run) {
    const std::uint16_t high = load_u16(block + 34 + 2 * run);
    const float d = scale * static_cast<float>(2 * (high >> 12 & 7) + 1);
    const float delta = (high & 0x8000) != 0 ? -kIq1Delta : kIq1Delta;
    for (int i = 0; i < 4; ++i) {
      const int index = block[2 + 4 * run + i] | (high >> (3 * i) & 7) << 8;
      out = put_iq1(kIq1Grid[index], delta, d, out);
    }
  }
}

void iq1_m(const std::uint8_t* block, float* out) {
  const std::uint8_t* high = block + 32;
  const std::uint8_t* scales = block + 48;
  int bits = 0;  // the block's scale: the top quarters of four words
  for (int i = 0; i < 4; ++i) bits |= load_u16(scales + 2 * i) >> 12 << (4 * i);
  const float scale = f16_to_f32(static_cast<std::uint16_t>(bits));
  for (int group = 0; group < 16; ++group) {  // 16 values each
    const int three = load_u16(scales + group / 4 * 2) >> (group % 4 * 3) & 7;
    const float d = scale * static_cast<float>(2 * three + 1);
    for (int i = 0; i < 2; ++i) {
      const int four = high[group] >> (4 * i);
      const int index = block[2 * group + i] | (four & 7) << 8;
      out = put_iq1(kIq1Grid[index], (four & 8) != 0 ? -kIq1Delta : kIq1Delta, d, out);
    }
  }
}

}  // namespace perilune::gguf_blocks
