// From a row of logits to a token: processors, then greedy choice or a draw by hash.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/sampling/cutoffs.h"
#include "engine/sampling/logit_edits.h"
#include "engine/sampling/repetition.h"
#include "engine/sampling/timestamps.h"

namespace perilune {

/// A bias on the last id of a sequence where its others came before.
struct SequenceBias {
  std::vector<std::int32_t> ids;
  float bias = 0;
};

/// From `start` new tokens on, stop ids gain |score| (factor^tokens beyond - 1).
struct ExponentialDecay {
  std::int64_t start = 0;
  double factor = 1;
};

/// Options with the published names. `given` keys only may contradict each other; checked by
/// check_sampling.
struct SamplingOptions {
  bool do_sample = false;
  double temperature = 1.0;
  std::int64_t top_k = 0;  // 0: off
  double top_p = 1.0;
  double min_p = 0.0;
  double typical_p = 1.0;  // mass of the most typical (Meister et al. 2022); 1: off
  double epsilon_cutoff = 0.0, eta_cutoff = 0.0;  // Hewitt et al. 2022; 0: off
  double repetition_penalty = 1.0;
  double encoder_repetition_penalty = 1.0;  // of the source's ids; above 1 favours them
  std::int64_t no_repeat_ngram_size = 0;    // 0: off
  std::int64_t encoder_no_repeat_ngram_size = 0;
  std::vector<SequenceBias> sequence_bias;  // added where a sequence would be completed
  double diversity_penalty = 0;  // off for each beam of another group that has chosen the token
  std::vector<std::vector<std::int32_t>> bad_words;    // never completed
  std::vector<std::int32_t> suppress, begin_suppress;  // never chosen; not as the first new token
  std::optional<std::int32_t> forced_bos;              // chosen after a prompt of one token
  std::vector<std::int32_t> forced_eos;                // one of them is the last token that fits
  std::optional<ExponentialDecay> exponential_decay;   // of the chance to go on
  std::optional<TimestampRules> timestamps;            // of Whisper's answers
  double frequency_penalty = 0, presence_penalty = 0;  // of new tokens: for each time, and once
  DryOptions dry;
  std::vector<std::vector<std::int32_t>> force_words;  // each stands in the answer before it ends
  double top_n_sigma = 0;                              // deviations below the best; 0: off
  double top_h = 1;                                    // share of the entropy; 1: off
  double xtc_probability = 0, xtc_threshold = 0.1;
  double dynatemp_range = 0, dynatemp_exponent = 1;  // temperature +- range, by the entropy
  std::int64_t mirostat = 0;                         // 2: version 2 instead of all cuts; 0: off
  double mirostat_tau = 5, mirostat_eta = 0.1;       // bits of surprise to aim at; how fast
  std::uint64_t seed = 0;
  std::int64_t min_new_tokens = 0;
  std::int64_t logprobs = -1;  // -1: off; n: the chosen one's and n best, before processors
};

/// Throws Error(option) for values out of range (option_ranges.h).
void check_sampling(const SamplingOptions& options);

struct TokenLogprob {
  std::int32_t id;
  float logprob;
};

struct Sampled {
  std::int32_t id = -1;
  /// Of `id`, before processors (natural log); with timestamps, among what these leave.
  float logprob = 0;
  std::vector<TokenLogprob> top;  // options.logprobs best, before processors
  bool not_finite = false;        // the row held a NaN: nothing was chosen
  // id stays -1 without not_finite when every token is masked out.
};

/// What the sampler may look at.
struct SamplingState {
  std::span<const std::int32_t> ids;  // prompt and generated tokens so far
  std::int64_t prompt_tokens = 0;
  std::int64_t position = 0;               // of the token to choose, in the sequence
  std::uint64_t output_index = 0;          // which of n outputs
  std::span<const std::int32_t> stop_ids;  // banned while fewer than min_new_tokens are there
  std::span<const std::int32_t> source;    // an encoder-decoder's input, else the prompt
  std::span<const std::int32_t> chosen;    // at this position, by other groups of a beam search
  std::int64_t max_new_tokens = 0;         // 0: no limit
  std::int64_t reachable = 0;  // ids >= this are masked out (padding rows of the vocabulary)
};

/// Uniform in [0, 1): a hash of (seed, output index, position, draw), kernels::draw_bits. No
/// generator state.
double hash_uniform(std::uint64_t seed, std::uint64_t output_index, std::uint64_t position,
                    std::uint64_t draw);

/// The logarithm of the sum of exponentials of a row of `width` logits: of its best, and of the sum
/// of kernels::token_weight over it.
double log_sum_of(float best, std::uint64_t weights, std::int64_t width);

/// Above so many log-probabilities a token the host looks for them.
inline constexpr std::int64_t kMostDeviceLogprobs = 32;

class Sampler {
 public:
  explicit Sampler(SamplingOptions options);
  const SamplingOptions& options() const { return options_; }
  /// Whether prepare and choose come to the argmax of the untouched row, whatever the state.
  bool only_best() const;
  /// The published name of an option that only prepare and choose know; null: kernels::ChoiceRow
  /// says all that they do, with rules().
  const char* needs_host() const;
  /// What the options change in a row of `width` logits, but for `timestamps`. Until the next call.
  const LogitEdits& rules(std::size_t width, const SamplingState& state);

  /// observe, then restrict. Lua processors run between prepare and choose.
  void prepare(std::span<float> logits, const SamplingState& state, Sampled& result);
  /// Begins a choice: whether the model's own row holds NaN, and its log-probabilities.
  void observe(std::span<const float> logits, const SamplingState& state, Sampled& result);
  /// Masks, repetition penalty, min_new_tokens (in place, order of the published implementation).
  void restrict(std::span<float> logits, const SamplingState& state);
  /// Temperature and cuts, then argmax (ties to the lowest id) or a draw: the inverse of the
  /// cumulative distribution over what is left, in id order. Without do_sample only argmax. The
  /// reference of the kernel table's `choose`.
  void choose(std::span<float> logits, const SamplingState& state, Sampled& result);
  /// The first half of choose, in place: temperature (or the dynamic one), top-n-sigma, top-k (ties
  /// at the k-th value stay), top-p (the fewest best that reach it; of equal ones the lowest id
  /// first), min-p, top-h, typical, epsilon, eta; what is left out becomes -infinity. At least one
  /// stays. Linear in the vocabulary but for top-p's sorted part and the rarer cuts.
  void filter(std::span<float> logits);

 private:
  double uniform(const SamplingState& state, std::uint64_t number) const;
  void apply_temperature(std::span<float> logits);
  void draw(std::span<float> logits, const SamplingState& state, Sampled& result) const;
  void draw_mirostat(std::span<float> logits, const SamplingState& state, Sampled& result);
  void force_missing(LogitEdits& edits, const SamplingState& state) const;
  void keep_top_k(std::span<float> logits);
  void keep_top_p(std::span<float> logits);
  void keep_min_p(std::span<float> logits) const;
  void apply_rules(std::span<float> logits, const SamplingState& state);
  void log_probabilities(std::span<const float> logits, const SamplingState& state,
                         Sampled& result);

  SamplingOptions options_;
  std::vector<TokenLogprob> candidates_;  // reused
  std::vector<float> raw_;                // the untouched row
  std::vector<float> scratch_;
  Cutoffs cutoffs_;
  DryPenalty dry_;
  LogitEdits edits_;
  std::map<std::uint64_t, double> surprise_;  // mirostat's bound in bits, by output
  double log_sum_ = 0;                        // of the untouched row: log of the sum of exp
};

}  // namespace perilune
