// Beam search over one prompt: which beams go on, which answers are kept. No tensors, no caches.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace perilune {

/// When to stop looking (published names: early_stopping = false, true, "never").
enum class EarlyStopping { no, yes, never };

struct BeamOptions {
  std::int64_t beams = 1;     // num_beams; 1: no beam search
  double length_penalty = 1;  // scores are divided by (new tokens)^length_penalty
  EarlyStopping early_stopping = EarlyStopping::no;
  bool renormalize = false;  // renormalize_logits: processed scores become log-probabilities again
};

/// One step of one prompt: offer() for every running beam, then advance(). Scores are sums of
/// log-probabilities in float, as the published implementation sums them; of equal candidates the
/// one of the earlier beam and lower id is first.
class BeamSearch {
 public:
  /// `stop_ids`: how many ids end a sequence. `max_new_tokens`: how many a hypothesis may have.
  BeamSearch(const BeamOptions& options, std::size_t stop_ids, std::int64_t max_new_tokens);

  /// A running beam of the next step, in the order of their scores.
  struct Continuation {
    std::size_t parent = 0;  // which of the running beams it goes on from
    std::int32_t token = 0;
    float score = 0;
  };
  struct Hypothesis {
    std::vector<std::int32_t> ids;  // new tokens
    float score = 0;
  };

  /// Beams that run: 1 before the first step.
  std::size_t running() const { return scores_.size(); }
  /// Takes the processed log-probabilities of running beam `beam`, any order.
  void offer(std::size_t beam, std::span<const float> log_probabilities);
  /// Whether every running beam has offered.
  bool complete() const { return offered_ == scores_.size(); }

  /// What of a candidate ends its sequence.
  class Judge {
   public:
    virtual ~Judge() = default;
    virtual bool ends(std::size_t parent, std::int32_t token) = 0;
    /// The new tokens of a running beam.
    virtual std::vector<std::int32_t> ids(std::size_t beam) = 0;
  };
  /// Ends the step. Empty: the search is over, hypotheses() are the answer.
  std::vector<Continuation> advance(Judge& judge);
  /// The best answers so far, best first; at most options.beams.
  const std::vector<Hypothesis>& hypotheses() const { return finished_; }

 private:
  struct Candidate {
    Continuation at;
    bool ends = false;
  };
  void keep(const std::vector<Candidate>& best, Judge& judge);
  double weigh(float score, std::int64_t tokens) const;

  BeamOptions options_;
  std::size_t kept_;  // candidates of a step
  std::int64_t max_new_tokens_;
  std::int64_t step_ = 0;
  std::vector<float> scores_{0};  // of running beams
  std::size_t offered_ = 0;
  std::vector<Continuation> candidates_;
  std::vector<Hypothesis> finished_;
  bool improvable_ = true;
};

}  // namespace perilune
