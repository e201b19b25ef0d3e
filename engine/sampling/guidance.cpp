#include "engine/sampling/guidance.h"

#include "engine/sampling/logits.h"

namespace perilune {

void guide(std::span<float> scores, std::span<const float> without, double scale) {
  const double own_sum = log_sum_exp(scores), other_sum = log_sum_exp(without);
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] == kNever) continue;
    const double own = static_cast<double>(scores[i]) - own_sum;
    const double other = static_cast<double>(without[i]) - other_sum;
    scores[i] = static_cast<float>(scale * (own - other) + other);
  }
}

}  // namespace perilune
