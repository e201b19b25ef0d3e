#include "engine/sampling/cutoffs.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "engine/sampling/logits.h"

namespace perilune {

namespace {

/// Natural log-probabilities; -infinity stays.
std::vector<double> log_softmax(std::span<const float> logits) {
  const double shift = log_sum_exp(logits);
  std::vector<double> result(logits.size());
  for (std::size_t i = 0; i < logits.size(); ++i) {
    result[i] = static_cast<double>(logits[i]) - shift;
  }
  return result;
}

double entropy_of(const std::vector<double>& log_probabilities) {
  double entropy = 0;
  for (const double x : log_probabilities) {
    if (std::isfinite(x)) entropy -= x * std::exp(x);
  }
  return entropy;
}

}  // namespace

void keep_typical(std::span<float> logits, double mass) {
  if (*std::max_element(logits.begin(), logits.end()) == kNever) return;
  const std::vector<double> log_probabilities = log_softmax(logits);
  const double entropy = entropy_of(log_probabilities);
  std::vector<std::size_t> order(logits.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto distance = [&](std::size_t i) { return std::abs(-log_probabilities[i] - entropy); };
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return distance(a) < distance(b); });
  double sum = 0;
  std::size_t last = 0;  // the first place where the mass is reached
  while (last + 1 < order.size()) {
    sum += std::exp(log_probabilities[order[last]]);
    if (sum >= mass) break;
    ++last;
  }
  const double most = distance(order[last]);
  for (std::size_t k = 1; k < order.size(); ++k) {
    if (distance(order[k]) > most) logits[order[k]] = kNever;
  }
}

void keep_above(std::span<float> logits, double epsilon, bool by_entropy) {
  const float best = *std::max_element(logits.begin(), logits.end());
  if (best == kNever) return;
  const std::vector<double> log_probabilities = log_softmax(logits);
  const double bar =
      by_entropy ? std::min(epsilon, std::sqrt(epsilon) * std::exp(-entropy_of(log_probabilities)))
                 : epsilon;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (std::exp(log_probabilities[i]) < bar && logits[i] < best) logits[i] = kNever;
  }
}

}  // namespace perilune
