#include "engine/sampling/cutoffs.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/sampling/logits.h"

namespace perilune {

void Cutoffs::find_log_probabilities(std::span<const float> logits) {
  const double shift = log_sum_exp(logits);
  log_probabilities_.resize(logits.size());
  for (std::size_t i = 0; i < logits.size(); ++i) {
    log_probabilities_[i] = static_cast<double>(logits[i]) - shift;
  }
}

double Cutoffs::entropy() const {
  double entropy = 0;
  for (const double x : log_probabilities_) {
    if (std::isfinite(x)) entropy -= x * std::exp(x);
  }
  return entropy;
}

void Cutoffs::keep_typical(std::span<float> logits, double mass) {
  if (logits[best_of(logits)] == kNever) return;
  find_log_probabilities(logits);
  const double middle = entropy();
  order_.resize(logits.size());
  std::iota(order_.begin(), order_.end(), std::size_t{0});
  const auto distance = [&](std::size_t i) {
    const double away = std::abs(-log_probabilities_[i] - middle);
    return std::isnan(away) ? 0.0 : away;  // of an infinite logit
  };
  std::sort(order_.begin(), order_.end(), [&](std::size_t a, std::size_t b) {
    const double of_a = distance(a), of_b = distance(b);
    return of_a != of_b ? of_a < of_b : a < b;
  });
  double sum = 0;
  std::size_t last = 0;  // the first place where the mass is reached
  while (last + 1 < order_.size()) {
    sum += std::exp(log_probabilities_[order_[last]]);
    if (sum >= mass) break;
    ++last;
  }
  const double most = distance(order_[last]);
  for (std::size_t k = 1; k < order_.size(); ++k) {
    if (distance(order_[k]) > most) logits[order_[k]] = kNever;
  }
}

void Cutoffs::keep_above(std::span<float> logits, double epsilon, bool by_entropy) {
  const float best = logits[best_of(logits)];
  if (best == kNever) return;
  find_log_probabilities(logits);
  const double bar =
      by_entropy ? std::min(epsilon, std::sqrt(epsilon) * std::exp(-entropy())) : epsilon;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (std::exp(log_probabilities_[i]) < bar && logits[i] < best) logits[i] = kNever;
  }
}

}  // namespace perilune
