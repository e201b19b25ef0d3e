// What the options of a request forbid, force or bias before a token is chosen, in the order of the
// published implementation.
#include <algorithm>
#include <cmath>

#include "engine/sampling/logits.h"
#include "engine/sampling/sampler.h"

namespace perilune {

namespace {

using Ids = std::span<const std::int32_t>;

bool ends_with(Ids ids, Ids end) {
  return end.size() <= ids.size() &&
         std::equal(end.begin(), end.end(), ids.end() - static_cast<std::ptrdiff_t>(end.size()));
}

/// Adds to the last id of `sequence` where its others are the end of `ids`.
void bias(LogitEdits& edits, Ids ids, Ids sequence, float amount) {
  if (sequence.empty() || !ends_with(ids, sequence.first(sequence.size() - 1))) return;
  edits.add(sequence.back(), amount);
}

/// Forbids every id that would complete a run of `size` ids of `from` at the end of `ids`.
void forbid_ngrams(LogitEdits& edits, Ids ids, Ids from, std::int64_t size) {
  const auto n = static_cast<std::size_t>(size);
  if (size <= 0 || from.size() < n || ids.size() + 1 < n) return;
  const Ids begin = ids.last(n - 1);
  for (std::size_t at = 0; at + n <= from.size(); ++at) {
    const Ids run = from.subspan(at, n);
    if (std::equal(begin.begin(), begin.end(), run.begin())) edits.forbid(run.last(1));
  }
}

/// As often as it occurs; of a token that occurs twice in one sum, as published.
void penalize_chosen(LogitEdits& edits, Ids chosen, double penalty) {
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    const auto here = chosen.begin() + static_cast<std::ptrdiff_t>(i);
    if (std::find(chosen.begin(), here, *here) != here) continue;
    const auto times = static_cast<double>(std::count(here, chosen.end(), *here));
    edits.add(*here, -static_cast<float>(penalty * times));
  }
}

}  // namespace

void Sampler::apply_rules(std::span<float> logits, const SamplingState& state) {
  rules(logits.size(), state).apply(logits);
  if (!options_.timestamps) return;
  apply_timestamp_rules(logits, state.ids.subspan(static_cast<std::size_t>(state.prompt_tokens)),
                        *options_.timestamps);
}

const LogitEdits& Sampler::rules(std::size_t width, const SamplingState& state) {
  const SamplingOptions& o = options_;
  LogitEdits& edits = edits_;
  edits.begin(width);
  const auto length = static_cast<std::int64_t>(state.ids.size());
  const std::int64_t made = length - state.prompt_tokens;
  for (const SequenceBias& one : o.sequence_bias) bias(edits, state.ids, one.ids, one.bias);
  penalize_chosen(edits, state.chosen, o.diversity_penalty);
  edits.penalize(state.source, static_cast<float>(1 / o.encoder_repetition_penalty));
  edits.penalize(state.ids, static_cast<float>(o.repetition_penalty));
  if (o.frequency_penalty != 0 || o.presence_penalty != 0) {
    apply_counts(edits, state.ids.subspan(static_cast<std::size_t>(state.prompt_tokens)),
                 o.frequency_penalty, o.presence_penalty);
  }
  dry_.apply(edits, state.ids, o.dry);
  forbid_ngrams(edits, state.ids, state.ids, o.no_repeat_ngram_size);
  forbid_ngrams(edits, state.ids, state.source, o.encoder_no_repeat_ngram_size);
  for (const std::vector<std::int32_t>& word : o.bad_words) {
    const bool stops = word.size() == 1 && std::find(state.stop_ids.begin(), state.stop_ids.end(),
                                                     word[0]) != state.stop_ids.end();
    if (!stops) bias(edits, state.ids, word, kNever);
  }
  if (made < o.min_new_tokens) edits.forbid(state.stop_ids);
  if (o.forced_bos && length == 1) edits.force(Ids(&*o.forced_bos, 1));
  if (!o.forced_eos.empty() && state.max_new_tokens > 0 && made == state.max_new_tokens - 1) {
    edits.force(o.forced_eos);
  }
  if (o.exponential_decay && made > o.exponential_decay->start) {
    const auto beyond = static_cast<double>(made - o.exponential_decay->start);
    const double factor = std::pow(o.exponential_decay->factor, beyond);
    edits.raise(state.stop_ids, static_cast<float>(factor - 1));
  }
  edits.forbid(o.suppress);
  if (!o.force_words.empty()) force_missing(edits, state);
  const std::int64_t first = o.forced_bos && state.prompt_tokens <= 1 ? 1 : 0;
  if (made == first) edits.forbid(o.begin_suppress);
  return edits;
}

/// While a word is missing the answer does not end; where only room for the missing ones is left,
/// they are written.
void Sampler::force_missing(LogitEdits& edits, const SamplingState& state) const {
  const Ids made = state.ids.subspan(static_cast<std::size_t>(state.prompt_tokens));
  const MissingWords missing = missing_words(made, options_.force_words);
  if (missing.next < 0) return;
  const std::int64_t left = state.max_new_tokens - static_cast<std::int64_t>(made.size());
  if (state.max_new_tokens > 0 && left <= missing.ids) return edits.force({&missing.next, 1});
  edits.forbid(state.stop_ids);
}

bool Sampler::only_best() const {
  const SamplingOptions& o = options_;
  const bool plain = !o.do_sample && o.logprobs < 0 && o.min_new_tokens <= 0;
  const bool unbiased = o.sequence_bias.empty() && o.bad_words.empty() && o.suppress.empty() &&
                        o.begin_suppress.empty() && !o.exponential_decay && !o.timestamps;
  const bool unpenalized = o.repetition_penalty == 1.0 && o.encoder_repetition_penalty == 1.0 &&
                           o.no_repeat_ngram_size == 0 && o.encoder_no_repeat_ngram_size == 0 &&
                           o.frequency_penalty == 0 && o.presence_penalty == 0 &&
                           o.dry.multiplier == 0 && o.force_words.empty();
  return plain && unbiased && unpenalized && !o.forced_bos && o.forced_eos.empty();
}

const char* Sampler::needs_host() const {
  const SamplingOptions& o = options_;
  if (o.timestamps) return "timestamps";
  if (o.logprobs > kMostDeviceLogprobs) return "logprobs";
  if (!o.do_sample) return nullptr;
  const std::pair<const char*, bool> given[] = {
      {"mirostat", o.mirostat != 0},      {"dynatemp_range", o.dynatemp_range > 0},
      {"top_n_sigma", o.top_n_sigma > 0}, {"top_h", o.top_h < 1.0},
      {"typical_p", o.typical_p < 1.0},   {"epsilon_cutoff", o.epsilon_cutoff > 0},
      {"eta_cutoff", o.eta_cutoff > 0},   {"xtc_probability", o.xtc_probability > 0}};
  for (const auto& [name, is_on] : given) {
    if (is_on) return name;
  }
  return nullptr;
}

}  // namespace perilune
