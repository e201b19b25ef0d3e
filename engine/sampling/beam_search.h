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
  std::int64_t groups = 1;    // num_beam_groups, so many searches side by side; divides `beams`
  std::int32_t pad_id = 0;    // what a group that is done counts as choosing, as published
  double length_penalty = 1;  // scores are divided by (new tokens)^length_penalty
  EarlyStopping early_stopping = EarlyStopping::no;
  bool renormalize = false;  // renormalize_logits: processed scores become log-probabilities again
};

/// One step of one prompt: offer() for every running beam, then advance(). Scores are sums of
/// log-probabilities in float, as the published implementation sums them; of equal candidates the
/// one of the earlier beam and lower id is first. Groups (Vijayakumar et al. 2016) choose one after
/// another, each knowing what those before it have chosen in this step; they begin at the same
/// beam, share nothing else, and end as the published library's last version with groups (4.49)
/// ends them.
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
  std::size_t running() const { return running_; }
  bool grouped() const { return options_.groups > 1; }
  /// Takes the log-probabilities of running beam `beam`, any order: processed ones, or of groups
  /// those of the model, which Judge::process sees once it is known what the groups before chose.
  void offer(std::size_t beam, std::span<const float> log_probabilities);
  /// Whether every running beam has offered.
  bool complete() const { return offered_ == running_; }

  /// What of a candidate ends its sequence.
  class Judge {
   public:
    virtual ~Judge() = default;
    virtual bool ends(std::size_t parent, std::int32_t token) = 0;
    /// Whether nothing may follow a running beam's next token, whatever it is.
    virtual bool last(std::size_t parent) = 0;
    /// The new tokens of a running beam.
    virtual std::vector<std::int32_t> ids(std::size_t beam) = 0;
    /// Of groups: the processed log-probabilities of a beam, from the model's in `row`; `chosen` by
    /// the groups before. Empty: there are none, and the search goes no further.
    virtual std::span<const float> process(std::size_t beam, std::span<const float> row,
                                           std::span<const std::int32_t> chosen) = 0;
  };
  /// Ends the step. Empty: the search is over, hypotheses() are the answer.
  std::vector<Continuation> advance(Judge& judge);
  /// The best answers so far, best first; at most options.beams.
  std::vector<Hypothesis> hypotheses() const;

 private:
  struct Candidate {
    Continuation at;
    bool ends = false;
  };
  /// One search: its beams are running beams [first, first + scores.size()).
  struct Group {
    std::size_t first = 0;
    std::vector<float> scores{0};  // of its running beams
    std::vector<Continuation> candidates;
    std::vector<Hypothesis> finished;
    bool improvable = true;
  };
  void add(Group& group, std::size_t beam, std::span<const float> log_probabilities) const;
  std::vector<Candidate> best_candidates(Group& group, Judge& judge) const;
  std::vector<Continuation> running_ones(const std::vector<Candidate>& best) const;
  void finish(Group& group, const Continuation& at, Judge& judge) const;
  std::vector<Continuation> advance_one(Group& group, Judge& judge) const;
  std::vector<Continuation> advance_group(Group& group, Judge& judge) const;
  std::vector<Continuation> advance_groups(Judge& judge);
  float weigh(float score, std::int64_t tokens) const;

  BeamOptions options_;
  std::size_t size_;  // beams of a group
  std::size_t kept_;  // candidates of a group's step
  std::int64_t max_new_tokens_;
  std::int64_t step_ = 0;
  std::size_t running_ = 1, offered_ = 0;
  std::vector<Group> groups_;
  std::vector<std::vector<float>> offers_;  // of groups: by running beam
};

}  // namespace perilune
