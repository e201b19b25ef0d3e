// What a row of logits is read by.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

namespace perilune {

/// The logit of a token that is left out.
inline constexpr float kNever = -std::numeric_limits<float>::infinity();

bool holds_nan(std::span<const float> logits);

/// The greatest, the first of equals. NaN is passed over (index 0, kNever: there is nothing else).
struct Best {
  std::size_t index = 0;
  float logit = kNever;
  bool nan = false;  // whether one was passed over
};
/// `logits` is not empty.
Best find_best(std::span<const float> logits);
std::size_t best_of(std::span<const float> logits);

/// Unnormalised probability; the best has 1, whatever its value.
double weight(float logit, float best);

/// The natural log-probability of one token. `logits` is not empty.
double log_probability(std::span<const float> logits, std::int32_t id);

/// Logarithm of the sum of the exponentials: a logit less this is a natural log-probability.
/// `logits` is not empty.
double log_sum_exp(std::span<const float> logits);

}  // namespace perilune
