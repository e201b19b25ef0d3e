#include "engine/sampling/logits.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace perilune {
namespace {

/// The best logit, and the sum of all weights.
struct Total {
  double best, sum;
};

Total total_of(std::span<const float> logits) {
  const float best = logits[best_of(logits)];
  double sum = 0;
  for (const float x : logits) sum += weight(x, best);
  return {static_cast<double>(best), sum};
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
