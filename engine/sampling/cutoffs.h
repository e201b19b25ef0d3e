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

  /// Keeps what is at most so many standard deviations of the scores below the best (top-n-sigma,
  /// Tang et al. 2024).
  void keep_near_best(std::span<float> logits, double deviations);
  /// Of the tokens of at least this probability only the least likely stays, where there are
  /// several (exclude top choices, p-e-w 2024).
  void exclude_best(std::span<float> logits, double threshold);
  /// Keeps the best of 100 tokens whose terms of the entropy come to this share of it (top-H,
  /// Potraghloo et al. 2025).
  void keep_top_h(std::span<float> logits, double share);
  /// Keeps tokens of at most so many bits of surprise and the likeliest; gives how many.
  std::size_t keep_unsurprising(std::span<float> logits, double most_bits);
  /// Between `low` and `high` by (entropy / its maximum)^exponent (Zhu et al. 2024).
  double dynamic_temperature(std::span<const float> logits, double low, double high,
                             double exponent);

 private:
  void sort_open(std::span<const float> logits);
  void find_log_probabilities(std::span<const float> logits);
  double entropy() const;

  std::vector<double> log_probabilities_;  // natural; -infinity stays
  std::vector<std::size_t> order_;
};

}  // namespace perilune
