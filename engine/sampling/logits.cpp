#include "engine/sampling/logits.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

namespace perilune {
namespace {

/// The best logit, and the sum of all weights.
struct Total {
  double best, sum;
};

// Two numbers in one vector register.
using Two = double __attribute__((vector_size(16)));
using TwoBits = std::uint64_t __attribute__((vector_size(16)));

Two two_of(double x) {
  return Two{x, x};
}

/// e^x of x <= 0, within 1e-14 of its size; 0 below -700.
Two exp_of_negative(Two x) {
  // x = n ln 2 + r with |r| <= ln(2) / 2; e^r as its series.
  constexpr double kPerLn2 = 1.4426950408889634, kLn2High = 0.6931471803691238,
                   kLn2Low = 1.9082149292705877e-10;
  // A sum with it is rounded to a whole number; n + 1023 is its last bits, the exponent of 2^n.
  constexpr double kShift = 0x1.8p52 + 1023;
  constexpr std::array kSeries = {1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320,
                                  1.0 / 5040,     1.0 / 720,     1.0 / 120,    1.0 / 24,
                                  1.0 / 6,        0.5,           1.0,          1.0};
  const Two shifted = x * two_of(kPerLn2) + two_of(kShift), n = shifted - two_of(kShift);
  const Two r = x - n * two_of(kLn2High) - n * two_of(kLn2Low);
  Two sum = two_of(kSeries[0]);
  for (std::size_t i = 1; i < kSeries.size(); ++i) sum = sum * r + two_of(kSeries[i]);
  const Two value = sum * std::bit_cast<Two>(std::bit_cast<TwoBits>(shifted) << 52U);
  const auto kept = std::bit_cast<TwoBits>(x >= two_of(-700));
  return std::bit_cast<Two>(std::bit_cast<TwoBits>(value) & kept);
}

Total total_of(std::span<const float> logits) {
  const auto best = static_cast<double>(logits[best_of(logits)]);
  const auto below = [&](std::size_t i) { return static_cast<double>(logits[i]) - best; };
  Two sum{}, other{};
  std::size_t i = 0;
  for (; i + 4 <= logits.size(); i += 4) {
    sum += exp_of_negative(Two{below(i), below(i + 1)});
    other += exp_of_negative(Two{below(i + 2), below(i + 3)});
  }
  for (; i < logits.size(); ++i) sum += exp_of_negative(Two{below(i), kNever});
  sum += other;
  return {best, sum[0] + sum[1]};
}

// Four numbers in one vector register, which GCC does not make of such loops by itself: it keeps
// the order of comparisons that could trap.
using Four = float __attribute__((vector_size(16)));
using Marks = std::int32_t __attribute__((vector_size(16)));  // -1 where a comparison holds
constexpr std::size_t kFours = 4, kBlock = 4 * kFours;

Four four_at(const float* x) {
  Four four;
  std::memcpy(&four, x, sizeof four);
  return four;
}

Four four_of(float x) {
  return Four{x, x, x, x};
}

bool any(Marks marks) {
  std::array<std::int64_t, 2> halves;
  std::memcpy(halves.data(), &marks, sizeof marks);
  return (halves[0] | halves[1]) != 0;
}

/// 0 where none is equal.
std::size_t first_of(std::span<const float> logits, float wanted) {
  const Four all = four_of(wanted);
  std::size_t i = 0;
  for (; i + kBlock <= logits.size(); i += kBlock) {
    Marks found{};
    for (std::size_t k = 0; k < kFours; ++k) found |= four_at(&logits[i + 4 * k]) == all;
    if (any(found)) break;
  }
  for (; i < logits.size(); ++i) {
    if (logits[i] == wanted) return i;
  }
  return 0;
}

}  // namespace

bool holds_nan(std::span<const float> logits) {
  return find_best(logits).nan;
}

Best find_best(std::span<const float> logits) {
  std::array<Four, kFours> best;
  best.fill(four_of(kNever));
  Marks unordered{};
  std::size_t i = 0;
  for (; i + kBlock <= logits.size(); i += kBlock) {
    for (std::size_t k = 0; k < kFours; ++k) {
      const Four x = four_at(&logits[i + 4 * k]);
      best[k] = x > best[k] ? x : best[k];
      unordered |= x != x;
    }
  }
  Best result;
  result.nan = any(unordered);
  for (const Four& four : best) {
    for (int lane = 0; lane < 4; ++lane) result.logit = std::max(result.logit, four[lane]);
  }
  for (; i < logits.size(); ++i) {
    result.logit = std::max(result.logit, logits[i]);
    result.nan = result.nan || std::isnan(logits[i]);
  }
  result.index = first_of(logits, result.logit);
  return result;
}

std::size_t best_of(std::span<const float> logits) {
  return find_best(logits).index;
}

double weight(float logit, float best) {
  return logit == best ? 1.0 : std::exp(static_cast<double>(logit) - static_cast<double>(best));
}

double log_probability(std::span<const float> logits, std::int32_t id) {
  const Total total = total_of(logits);
  return static_cast<double>(logits[static_cast<std::size_t>(id)]) - total.best -
         std::log(total.sum);
}

double log_sum_exp(std::span<const float> logits) {
  const Total total = total_of(logits);
  return total.best + std::log(total.sum);
}

}  // namespace perilune
