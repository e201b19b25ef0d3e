// How far a row of logits is from the row that it stands for.
#pragma once

#include <cstdint>
#include <span>

namespace perilune {

struct Divergence {
  /// Kullback-Leibler divergence of the row's distribution from the reference's, in nats.
  double kl = 0;
  /// The target's natural log-probability in each; 0 where there is none.
  double reference_log_probability = 0, log_probability = 0;
  /// The largest difference of a logit.
  double largest = 0;
  /// Both have their greatest logit at the same token.
  bool same_top = false;
};

/// Rows of the same size, not empty; `target` is a token, or -1 for none. A token that the
/// reference leaves out (-inf) counts for nothing; NaN in either gives NaN.
Divergence divergence(std::span<const float> reference, std::span<const float> logits,
                      std::int32_t target);

}  // namespace perilune
