#include "engine/quantize/divergence.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/sampling/logits.h"

namespace perilune {

Divergence divergence(std::span<const float> reference, std::span<const float> logits,
                      std::int32_t target) {
  Divergence out;
  if (holds_nan(reference) || holds_nan(logits)) {
    out.kl = out.largest = out.log_probability = out.reference_log_probability =
        std::numeric_limits<double>::quiet_NaN();
    return out;
  }
  const double reference_sum = log_sum_exp(reference), sum = log_sum_exp(logits);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (reference[i] == logits[i] && reference_sum == sum) continue;
    const double log_p = static_cast<double>(reference[i]) - reference_sum;
    if (reference[i] != kNever) {
      out.kl += std::exp(log_p) * (log_p - (static_cast<double>(logits[i]) - sum));
    }
    if (reference[i] != logits[i]) {
      const auto difference = static_cast<double>(reference[i]) - static_cast<double>(logits[i]);
      out.largest = std::max(out.largest, std::abs(difference));
    }
  }
  out.kl = std::max(out.kl, 0.0);  // of equal distributions nothing but rounding is left
  out.same_top = best_of(reference) == best_of(logits);
  if (target >= 0) {
    const auto at = static_cast<std::size_t>(target);
    out.reference_log_probability = static_cast<double>(reference[at]) - reference_sum;
    out.log_probability = static_cast<double>(logits[at]) - sum;
  }
  return out;
}

}  // namespace perilune
