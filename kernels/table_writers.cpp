// Writers of blocks whose codes stand for the values of a table.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/block_bytes.h"
#include "kernels/block_writers.h"
#include "kernels/coding.h"
#include "kernels/scale_search.h"

namespace perilune::kernels {
namespace {

constexpr int kCount = 32, kHalf = 16;

void pack_nibbles(const int* codes, std::uint8_t* to) {
  for (int i = 0; i < kHalf; ++i)
    to[i] = static_cast<std::uint8_t>(codes[i] | codes[i + kHalf] << 4);
}

}  // namespace

void write_iq4_nl(const float* values, std::uint8_t* block) {
  const std::int8_t* levels = find_block_format("IQ4_NL")->coding.values;
  store_f16(fit_table_scale(values, kCount, levels), block);
  const float scale = load_f16(block);
  const float factor = scale != 0 ? 1 / scale : 0;
  int codes[kCount];
  for (int i = 0; i < kCount; ++i) codes[i] = nearest_level(values[i] * factor, levels);
  pack_nibbles(codes, block + 2);
}

/// The values are those of a 4-bit float, 0 to 6 with a sign, times a power of two: the smallest
/// that reaches the largest value, or half of it where that loses less.
void write_mxfp4(const float* values, std::uint8_t* block) {
  constexpr float kMagnitudes[8] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  float far = 0;
  for (int i = 0; i < kCount; ++i) far = std::max(far, std::fabs(values[i]));
  const int reach = far > 0 ? std::ilogb(far / 6 * 0.999999f) + 1 : -127;
  float least = std::numeric_limits<float>::infinity();
  for (const int exponent : {std::clamp(reach, -127, 127), std::clamp(reach - 1, -127, 127)}) {
    const float factor = std::ldexp(1.0f, -exponent);
    int codes[kCount];
    float error = 0;
    for (int i = 0; i < kCount; ++i) {
      const float value = std::fabs(values[i]) * factor;
      int code = 0;
      for (int k = 1; k < 8; ++k)
        if (2 * value > kMagnitudes[k - 1] + kMagnitudes[k]) code = k;
      const float left = value - kMagnitudes[code];
      error += left * left / factor / factor;
      codes[i] = code | (values[i] < 0 && code != 0 ? 8 : 0);
    }
    if (error >= least) continue;
    least = error;
    block[0] = static_cast<std::uint8_t>(exponent + 127);
    pack_nibbles(codes, block + 1);
  }
}

}  // namespace perilune::kernels
