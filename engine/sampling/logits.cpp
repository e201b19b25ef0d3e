#include "engine/sampling/logits.h"

#include <algorithm>
#include <array>
#include <cmath>

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

constexpr std::size_t kLanes = 16;  // loops over so many become vector instructions

}  // namespace

bool holds_nan(std::span<const float> logits) {
  std::array<std::uint32_t, kLanes> found{};
  std::size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes) {
    const float* x = logits.data() + i;
    for (std::size_t lane = 0; lane < kLanes; ++lane) found[lane] |= x[lane] != x[lane] ? 1 : 0;
  }
  std::uint32_t any = 0;
  for (const std::uint32_t one : found) any |= one;
  for (; i < logits.size(); ++i) any |= std::isnan(logits[i]) ? 1 : 0;
  return any != 0;
}

std::size_t best_of(std::span<const float> logits) {
  std::array<float, kLanes> best;
  best.fill(kNever);
  std::size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes) {
    const float* x = logits.data() + i;
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      best[lane] = x[lane] > best[lane] ? x[lane] : best[lane];
    }
  }
  float most = *std::max_element(best.begin(), best.end());
  for (; i < logits.size(); ++i) most = std::max(most, logits[i]);
  const auto found = std::find(logits.begin(), logits.end(), most);
  return found == logits.end() ? 0 : static_cast<std::size_t>(found - logits.begin());
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
