// Cuts that go by the order of the scores or by how they spread.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/sampling/cutoffs.h"
#include "engine/sampling/logits.h"

namespace perilune {

/// Fills order_ with the ids that are left, best first, the lowest first of equals.
void Cutoffs::sort_open(std::span<const float> logits) {
  order_.clear();
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] != kNever) order_.push_back(i);
  }
  std::sort(order_.begin(), order_.end(), [&](std::size_t a, std::size_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  });
}

void Cutoffs::keep_near_best(std::span<float> logits, double deviations) {
  double sum = 0, count = 0;
  for (const float x : logits) {
    if (x == kNever) continue;
    sum += static_cast<double>(x);
    ++count;
  }
  if (count == 0) return;
  const double mean = sum / count;
  double squares = 0;
  for (const float x : logits) {
    if (x != kNever) squares += (static_cast<double>(x) - mean) * (static_cast<double>(x) - mean);
  }
  const double best = static_cast<double>(logits[best_of(logits)]);
  const double bar = best - deviations * std::sqrt(squares / count);
  if (!std::isfinite(bar)) return;
  for (float& x : logits) {
    if (static_cast<double>(x) < bar) x = kNever;
  }
}

void Cutoffs::exclude_best(std::span<float> logits, double threshold) {
  if (logits[best_of(logits)] == kNever) return;
  find_log_probabilities(logits);
  sort_open(logits);
  std::size_t last = 0;
  while (last < order_.size() && std::exp(log_probabilities_[order_[last]]) >= threshold) ++last;
  for (std::size_t k = 0; k + 1 < last; ++k) logits[order_[k]] = kNever;
}

void Cutoffs::keep_top_h(std::span<float> logits, double share) {
  constexpr std::size_t kLooked = 100;  // as published
  if (logits[best_of(logits)] == kNever) return;
  sort_open(logits);
  for (std::size_t k = kLooked; k < order_.size(); ++k) logits[order_[k]] = kNever;
  order_.resize(std::min(order_.size(), kLooked));
  find_log_probabilities(logits);
  const double most = entropy() * share;
  double sum = 0;
  for (std::size_t k = 0; k < order_.size(); ++k) {
    const double x = log_probabilities_[order_[k]];
    if (std::isfinite(x)) sum -= x * std::exp(x);
    if (k > 0 && sum > most) logits[order_[k]] = kNever;
  }
}

double Cutoffs::dynamic_temperature(std::span<const float> logits, double low, double high,
                                    double exponent) {
  if (logits[best_of(logits)] == kNever) return high;
  const auto open =
      logits.size() - static_cast<std::size_t>(std::count(logits.begin(), logits.end(), kNever));
  if (open <= 1) return 1;
  find_log_probabilities(logits);
  const double share = entropy() / std::log(static_cast<double>(open));
  return low + (high - low) * std::pow(std::max(share, 0.0), exponent);
}

std::size_t Cutoffs::keep_unsurprising(std::span<float> logits, double most_bits) {
  if (logits[best_of(logits)] == kNever) return 0;
  find_log_probabilities(logits);
  const std::size_t best = best_of(logits);
  std::size_t kept = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] == kNever) continue;
    if (i != best && -log_probabilities_[i] / std::log(2.0) > most_bits) {
      logits[i] = kNever;
    } else {
      ++kept;
    }
  }
  return kept;
}

}  // namespace perilune
