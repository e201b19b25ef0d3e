// Cuts of a distribution by how surprising its tokens are.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace perilune {

/// Its memory is used again from row to row.
class Cutoffs {
 public:
  /// Keeps the tokens whose surprise is nearest to the entropy, until they hold `mass` (typical
  /// decoding, Meister et al. 2022). What is left out becomes -infinity; one token stays at least.
  void keep_typical(std::span<float> logits, double mass);

  /// Keeps tokens of at least this probability and the likeliest; with `by_entropy` the bar is
  /// min(epsilon, sqrt(epsilon) exp(-entropy)) (Hewitt et al. 2022).
  void keep_above(std::span<float> logits, double epsilon, bool by_entropy);

 private:
  void find_log_probabilities(std::span<const float> logits);
  double entropy() const;

  std::vector<double> log_probabilities_;  // natural; -infinity stays
  std::vector<std::size_t> order_;
};

}  // namespace perilune
