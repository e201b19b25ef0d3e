#include "engine/sampling/logits.h"

#include <algorithm>
#include <cmath>

namespace perilune {
namespace {

/// The best logit, and the sum of all weights.
struct Total {
  double best, sum;
};

Total total_of(std::span<const float> logits) {
  const float best = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float x : logits) sum += weight(x, best);
  return {static_cast<double>(best), sum};
}

}  // namespace

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
