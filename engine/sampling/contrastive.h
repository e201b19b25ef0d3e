// Contrastive search (Su et al. 2022, arXiv:2202.06417): of a few likely tokens the one whose
// hidden state is far from those of all tokens before it, weighed against its probability.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace perilune {

/// Of one answer: what its tokens look like to the model's head, and the candidates for the next.
class ContrastiveSearch {
 public:
  /// `alpha`: the weight of likeness, 0 to 1; `top_k`: candidates.
  ContrastiveSearch(double alpha, std::int64_t top_k) : alpha_(alpha), top_k_(top_k) {}
  /// Tokens of the text whose hidden states are known: the first so many.
  std::int64_t seen() const {
    return width_ == 0 ? 0 : static_cast<std::int64_t>(states_.size() / width_);
  }
  /// The hidden state of the next token of the text.
  void add(std::span<const float> hidden);
  /// The likeliest tokens of a row of scores, the likeliest first, of equals the lower id; those
  /// without any chance are left out but for the first. None where every score is -infinity.
  void find_candidates(std::span<const float> scores);
  /// Candidates that wait for their hidden states; empty: the next are to be found.
  const std::vector<std::int32_t>& candidates() const { return ids_; }
  /// Which of the candidates is best, the first of equals: by (1 - alpha) * probability - alpha *
  /// the greatest cosine of its hidden state with one of the text's. `hidden`: of each candidate.
  std::size_t best(std::span<const std::span<const float>> hidden) const;
  void forget_candidates() { ids_.clear(); }

 private:
  double alpha_;
  std::int64_t top_k_;
  std::size_t width_ = 0;      // of a hidden state
  std::vector<float> states_;  // [token, hidden], each of length 1
  std::vector<std::int32_t> ids_, order_;
  std::vector<double> chances_;  // of ids_
};

}  // namespace perilune
