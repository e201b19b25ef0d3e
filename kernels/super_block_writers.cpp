// Writers of blocks of 256 values: groups whose scales are whole numbers times one of the block.
// Each group's scale is searched for, rounded to the steps that the block has, and what was
// rounded is looked at again.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/block_bytes.h"
#include "kernels/block_writers.h"
#include "kernels/coding.h"
#include "kernels/scale_search.h"

namespace perilune::kernels {
namespace {

constexpr int kBlock = 256;
constexpr int kMostGroups = kBlock / 16;

float rounded_f16(float value) {
  return f16_to_f32(f32_to_f16(value));
}

/// A block before it is packed: value = scale * scales[group] * code - minimum * minimums[group].
struct Groups {
  int codes[kBlock];
  int scales[kMostGroups] = {}, minimums[kMostGroups] = {};
  float scale = 0, minimum = 0;  // as their f16 says
};

float largest(const float* values, int count) {
  float found = 0;
  for (int i = 0; i < count; ++i)
    if (std::fabs(values[i]) > std::fabs(found)) found = values[i];
  return found;
}

void round_codes(const float* values, int size, float scale, float minimum, int lowest, int highest,
                 int* codes) {
  const float factor = std::fabs(scale) > 0 ? 1 / scale : 0;
  for (int i = 0; i < size; ++i)
    codes[i] = static_cast<int>(nearest_code(values[i] - minimum, factor, lowest, highest));
}

/// Codes lowest to highest; scales of groups from lowest_scale to highest_scale.
void fit_signed(const float* values, int size, int lowest, int highest, int lowest_scale,
                int highest_scale, Groups* to) {
  float scales[kMostGroups];
  const int groups = kBlock / size;
  for (int g = 0; g < groups; ++g) scales[g] = fit_scale(values + g * size, size, lowest, highest);
  to->scale = rounded_f16(largest(scales, groups) / static_cast<float>(lowest_scale));
  for (int g = 0; g < groups; ++g) {
    const float* group = values + g * size;
    int best = 0;
    if (to->scale != 0) {
      const int start = static_cast<int>(std::lround(scales[g] / to->scale));
      float least = INFINITY;
      for (int step = start - 1; step <= start + 1; ++step) {
        const int held = std::clamp(step, lowest_scale, highest_scale);
        const float error =
            squared_error(group, size, to->scale * static_cast<float>(held), 0, lowest, highest);
        if (error >= least) continue;
        least = error;
        best = held;
      }
    }
    to->scales[g] = best;
    round_codes(group, size, to->scale * static_cast<float>(best), 0, lowest, highest,
                to->codes + g * size);
  }
}

/// Of a group, the steps of scale and minimum near `start` that lose least.
void choose_steps(const float* group, int size, int levels, int most, const ScaleAndMinimum& start,
                  Groups* to, int g) {
  const auto steps = [](float value, float unit) {
    return unit != 0 ? static_cast<int>(std::lround(value / unit)) : 0;
  };
  const int scale = steps(start.scale, to->scale), minimum = steps(-start.minimum, to->minimum);
  float least = INFINITY;
  for (int i = scale - 1; i <= scale + 1; ++i) {
    for (int j = minimum - 1; j <= minimum + 1; ++j) {
      const int held = std::clamp(i, 0, most), low = std::clamp(j, 0, most);
      const float error = squared_error(group, size, to->scale * static_cast<float>(held),
                                        -(to->minimum * static_cast<float>(low)), 0, levels);
      if (error >= least) continue;
      least = error;
      to->scales[g] = held;
      to->minimums[g] = low;
    }
  }
}

/// Codes 0 to levels; scales and minimums of groups from 0 to `most`.
void fit_with_minimum(const float* values, int size, int levels, int most, Groups* to) {
  ScaleAndMinimum found[kMostGroups];
  float scale = 0, minimum = 0;
  const int groups = kBlock / size;
  for (int g = 0; g < groups; ++g) {
    found[g] = fit_scale_and_minimum(values + g * size, size, levels);
    scale = std::max(scale, found[g].scale);
    minimum = std::max(minimum, -found[g].minimum);
  }
  to->scale = rounded_f16(scale / static_cast<float>(most));
  to->minimum = rounded_f16(minimum / static_cast<float>(most));
  for (int g = 0; g < groups; ++g) {
    const float* group = values + g * size;
    choose_steps(group, size, levels, most, found[g], to, g);
    round_codes(group, size, to->scale * static_cast<float>(to->scales[g]),
                -(to->minimum * static_cast<float>(to->minimums[g])), 0, levels,
                to->codes + g * size);
  }
}

std::uint8_t byte(int value) {
  return static_cast<std::uint8_t>(value);
}

void add_bits(int value, int shift, std::uint8_t* to) {
  *to = byte(*to | value << shift);
}

/// Eight six-bit scales and eight six-bit minimums in 12 bytes.
void pack_six_bits(const Groups& groups, std::uint8_t* to) {
  for (int i = 0; i < 4; ++i) {
    const int scale = groups.scales[i + 4], minimum = groups.minimums[i + 4];
    to[i] = byte(groups.scales[i] | (scale >> 4) << 6);
    to[i + 4] = byte(groups.minimums[i] | (minimum >> 4) << 6);
    to[i + 8] = byte((scale & 15) | (minimum & 15) << 4);
  }
}

/// The low four bits of eight runs of 32 codes: two runs share 32 bytes.
void pack_runs(const int* codes, std::uint8_t* to) {
  for (int run = 0; run < 8; ++run)
    for (int i = 0; i < 32; ++i)
      add_bits(codes[32 * run + i] & 15, 4 * (run % 2), to + 32 * (run / 2) + i);
}

}  // namespace

void write_q2_k(const float* values, std::uint8_t* block) {
  Groups groups;
  fit_with_minimum(values, 16, 3, 15, &groups);
  std::memset(block, 0, 84);
  store_f16(groups.scale, block + 80);
  store_f16(groups.minimum, block + 82);
  for (int group = 0; group < 16; ++group) {
    block[group] = byte(groups.scales[group] | groups.minimums[group] << 4);
    std::uint8_t* to = block + 16 + 32 * (group / 8) + 16 * (group % 2);
    for (int i = 0; i < 16; ++i)
      add_bits(groups.codes[16 * group + i], 2 * (group / 2 % 4), to + i);
  }
}

void write_q3_k(const float* values, std::uint8_t* block) {
  Groups groups;
  fit_signed(values, 16, -4, 3, -32, 31, &groups);
  std::memset(block, 0, 110);
  store_f16(groups.scale, block + 108);
  for (int group = 0; group < 16; ++group) {
    const int scale = groups.scales[group] + 32;
    add_bits(scale & 15, group < 8 ? 0 : 4, block + 96 + group % 8);
    add_bits(scale >> 4, 2 * (group / 4), block + 104 + group % 4);
    const int run = group / 2, half = group % 2;
    for (int i = 0; i < 16; ++i) {
      const int at = 16 * half + i, code = groups.codes[16 * group + i] + 4;
      add_bits(code >> 2, run, block + at);
      add_bits(code & 3, 2 * (run % 4), block + 32 + 32 * (group / 8) + at);
    }
  }
}

void write_q4_k(const float* values, std::uint8_t* block) {
  Groups groups;
  fit_with_minimum(values, 32, 15, 63, &groups);
  std::memset(block, 0, 144);
  store_f16(groups.scale, block);
  store_f16(groups.minimum, block + 2);
  pack_six_bits(groups, block + 4);
  pack_runs(groups.codes, block + 16);
}

void write_q5_k(const float* values, std::uint8_t* block) {
  Groups groups;
  fit_with_minimum(values, 32, 31, 63, &groups);
  std::memset(block, 0, 176);
  store_f16(groups.scale, block);
  store_f16(groups.minimum, block + 2);
  pack_six_bits(groups, block + 4);
  for (int run = 0; run < 8; ++run)
    for (int i = 0; i < 32; ++i) add_bits(groups.codes[32 * run + i] >> 4, run, block + 16 + i);
  pack_runs(groups.codes, block + 48);
}

void write_q6_k(const float* values, std::uint8_t* block) {
  Groups groups;
  fit_signed(values, 16, -32, 31, -128, 127, &groups);
  std::memset(block, 0, 210);
  store_f16(groups.scale, block + 208);
  for (int group = 0; group < 16; ++group) block[192 + group] = byte(groups.scales[group]);
  for (int run = 0; run < 8; ++run) {  // 4 runs share 64 bytes and 32 bytes
    const int part = run / 4, quarter = run % 4;
    for (int i = 0; i < 32; ++i) {
      const int code = groups.codes[32 * run + i] + 32;
      add_bits(code & 15, 4 * (quarter / 2), block + 64 * part + 32 * (quarter % 2) + i);
      add_bits(code >> 4, 2 * quarter, block + 128 + 32 * part + i);
    }
  }
}

}  // namespace perilune::kernels
