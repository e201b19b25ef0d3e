#include "kernels/scale_search.h"

#include <xmmintrin.h>

#include <algorithm>
#include <cmath>

namespace perilune::kernels {
namespace {

constexpr int kSteps = 12;             // scales tried on each side of the largest value's
constexpr float kStep = 0.075f;        // of a code, by which the largest value's code moves
constexpr int kRounds = 3;             // of rounding to a scale and fitting it again
constexpr float kTiny = 1e-30f;        // below it a scale is 0: its inverse could be infinite
constexpr float kRounder = 0x1.8p23f;  // added and taken away again it rounds small numbers

/// Sums over values x and their codes q.
struct Sums {
  float q = 0, qq = 0, x = 0, xx = 0, xq = 0;
};

Sums sums_of(const float* values, const float* codes, int count) {
  constexpr int kLanes = 4;
  float q[kLanes] = {}, qq[kLanes] = {}, x[kLanes] = {}, xx[kLanes] = {}, xq[kLanes] = {};
  for (int i = 0; i + kLanes <= count; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const float value = values[i + lane], code = codes[i + lane];
      q[lane] += code;
      qq[lane] += code * code;
      x[lane] += value;
      xx[lane] += value * value;
      xq[lane] += value * code;
    }
  }
  const auto sum = [](const float* lanes) { return lanes[0] + lanes[1] + lanes[2] + lanes[3]; };
  return {sum(q), sum(qq), sum(x), sum(xx), sum(xq)};
}

void round_to(const float* values, int count, float factor, float minimum, int lowest, int highest,
              float* codes) {
  for (int i = 0; i < count; ++i)
    codes[i] = nearest_code(values[i] - minimum, factor, lowest, highest);
}

float inverse(float scale) {
  return std::fabs(scale) > kTiny ? 1 / scale : 0;
}

float farthest(const float* values, int count) {
  float found = 0;
  for (int i = 0; i < count; ++i)
    if (std::fabs(values[i]) > std::fabs(found)) found = values[i];
  return found;
}

/// Keeps the scale that explains the most: with the scale of least squares for given codes,
/// xq / qq, the error is xx - xq * xq / qq.
struct BestScale {
  float scale = 0, explained = 0;
  void offer(const Sums& sums) {
    if (sums.qq <= 0 || sums.xq * sums.xq <= explained * sums.qq) return;
    explained = sums.xq * sums.xq / sums.qq;
    scale = sums.xq / sums.qq;
  }
};

/// The least squares of scale and minimum for given codes, held to scale >= 0 and minimum <= 0.
ScaleAndMinimum solve(const Sums& sums, float count) {
  const float determinant = count * sums.qq - sums.q * sums.q;
  ScaleAndMinimum found;
  if (determinant > 0) {
    found.scale = (count * sums.xq - sums.x * sums.q) / determinant;
    found.minimum = (sums.qq * sums.x - sums.q * sums.xq) / determinant;
  }
  if (determinant <= 0 || found.minimum > 0) {
    found.scale = sums.qq > 0 ? sums.xq / sums.qq : 0;
    found.minimum = 0;
  }
  found.scale = std::max(found.scale, 0.0f);
  return found;
}

}  // namespace

float nearest_code(float value, float factor, int lowest, int highest) {
  const float code = value * factor;
  const float held =
      std::min(std::max(code, static_cast<float>(lowest)), static_cast<float>(highest));
  return (held + kRounder) - kRounder;
}

float squared_error(const float* values, int count, float scale, float minimum, int lowest,
                    int highest) {
  const float factor = inverse(scale);
  float lanes[4] = {};
  for (int i = 0; i + 4 <= count; i += 4) {
    for (int lane = 0; lane < 4; ++lane) {
      const float value = values[i + lane];
      const float left =
          value - (nearest_code(value - minimum, factor, lowest, highest) * scale + minimum);
      lanes[lane] += left * left;
    }
  }
  return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}

float fit_scale(const float* values, int count, int lowest, int highest) {
  const float far = farthest(values, count);
  if (std::fabs(far) < kTiny) return 0;
  float codes[kSearchedValues];
  BestScale best;
  const auto offer = [&](float factor) {
    round_to(values, count, factor, 0, lowest, highest, codes);
    best.offer(sums_of(values, codes, count));
  };
  // The farthest value gets the end that reaches farther, or the other one.
  for (const int end : {lowest, highest}) {
    for (int i = -kSteps; i <= kSteps; ++i)
      offer((static_cast<float>(end) + kStep * static_cast<float>(i)) / far);
  }
  // Values that a scale has exactly are found whichever of a few codes the farthest one is.
  for (int code = lowest + 1; lowest >= -8 && code < 0; ++code)
    offer(static_cast<float>(code) / far);
  for (int round = 0; round < kRounds; ++round) offer(inverse(best.scale));
  return best.scale;
}

ScaleAndMinimum fit_scale_and_minimum(const float* values, int count, int levels) {
  const auto [low, high] = std::minmax_element(values, values + count);
  const float minimum = std::min(*low, 0.0f);
  const float range = *high - minimum;
  if (range < kTiny) return {0, minimum};
  ScaleAndMinimum best{range / static_cast<float>(levels), minimum};
  float least = squared_error(values, count, best.scale, best.minimum, 0, levels);
  float codes[kSearchedValues];
  const auto offer = [&](float scale, float from) {
    round_to(values, count, inverse(scale), from, 0, levels, codes);
    const ScaleAndMinimum found = solve(sums_of(values, codes, count), static_cast<float>(count));
    const float error = squared_error(values, count, found.scale, found.minimum, 0, levels);
    if (error >= least) return;
    least = error;
    best = found;
  };
  for (int i = -kSteps; i <= kSteps; ++i)
    offer(range / (static_cast<float>(levels) + kStep * static_cast<float>(i)), minimum);
  for (int round = 0; round < kRounds; ++round) offer(best.scale, best.minimum);
  return best;
}

int nearest_level(float value, const signed char* levels) {
  int code = 0;
  for (int i = 1; i < 16; ++i)
    code += 2 * value > static_cast<float>(levels[i - 1] + levels[i]) ? 1 : 0;
  return code;
}

/// levels[nearest_level(x, levels)] for x = values[i] * factor, several values at a time: every
/// middle between two levels that twice x is beyond adds what they are apart, whole numbers all.
class NearestLevels {
 public:
  explicit NearestLevels(const signed char* levels) : lowest_(static_cast<float>(levels[0])) {
    for (int i = 0; i < 15; ++i) {
      twice_middle_[i] = static_cast<float>(levels[i] + levels[i + 1]);
      apart_[i] = static_cast<float>(levels[i + 1] - levels[i]);
    }
  }
  /// `count` is a multiple of 4.
  void find(const float* values, int count, float factor, float* to) const {
    constexpr int kVectors = 4;
    for (int first = 0; first < count; first += kVectors * 4) {
      const int vectors = std::min(kVectors, (count - first) / 4);
      __m128 twice[kVectors], found[kVectors];
      for (int v = 0; v < kVectors; ++v) {
        const int at = first + 4 * std::min(v, vectors - 1);
        const __m128 value = _mm_mul_ps(_mm_loadu_ps(values + at), _mm_set1_ps(factor));
        twice[v] = _mm_add_ps(value, value);
        found[v] = _mm_set1_ps(lowest_);
      }
      for (int i = 0; i < 15; ++i) {
        const __m128 middle = _mm_set1_ps(twice_middle_[i]), apart = _mm_set1_ps(apart_[i]);
        for (int v = 0; v < kVectors; ++v)
          found[v] = _mm_add_ps(found[v], _mm_and_ps(_mm_cmpgt_ps(twice[v], middle), apart));
      }
      for (int v = 0; v < vectors; ++v) _mm_storeu_ps(to + first + 4 * v, found[v]);
    }
  }

 private:
  float lowest_, twice_middle_[15], apart_[15];
};

float fit_table_scale(const float* values, int count, const signed char* levels) {
  const float far = farthest(values, count);
  if (std::fabs(far) < kTiny) return 0;
  const NearestLevels nearest(levels);
  float codes[kSearchedValues];
  BestScale best;
  const auto offer = [&](float factor) {
    nearest.find(values, count, factor, codes);
    best.offer(sums_of(values, codes, count));
  };
  for (const int end : {0, 15}) {
    for (int i = -kSteps; i <= kSteps; ++i)
      offer(static_cast<float>(levels[end]) * (1 + 0.01f * static_cast<float>(i)) / far);
  }
  for (int round = 0; round < kRounds; ++round) offer(inverse(best.scale));
  return best.scale;
}

}  // namespace perilune::kernels
