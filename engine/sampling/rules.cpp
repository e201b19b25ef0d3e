// What the options of a request forbid, force or bias before a token is chosen, in the order of the
// published implementation.
#include <algorithm>
#include <cmath>

#include "engine/sampling/logits.h"
#include "engine/sampling/sampler.h"

namespace perilune {

namespace {

using Ids = std::span<const std::int32_t>;

bool valid(std::int32_t id, std::span<const float> logits) {
  return id >= 0 && static_cast<std::size_t>(id) < logits.size();
}

void forbid(std::span<float> logits, Ids ids) {
  for (const std::int32_t id : ids) {
    if (valid(id, logits)) logits[static_cast<std::size_t>(id)] = kNever;
  }
}

/// Only `ids` stay possible, all alike.
void force(std::span<float> logits, Ids ids) {
  std::fill(logits.begin(), logits.end(), kNever);
  for (const std::int32_t id : ids) {
    if (valid(id, logits)) logits[static_cast<std::size_t>(id)] = 0;
  }
}

bool ends_with(Ids ids, Ids end) {
  return end.size() <= ids.size() &&
         std::equal(end.begin(), end.end(), ids.end() - static_cast<std::ptrdiff_t>(end.size()));
}

/// Adds to the last id of `sequence` where its others are the end of `ids`.
void bias(std::span<float> logits, Ids ids, Ids sequence, float amount) {
  if (sequence.empty() || !valid(sequence.back(), logits)) return;
  if (!ends_with(ids, sequence.first(sequence.size() - 1))) return;
  logits[static_cast<std::size_t>(sequence.back())] += amount;
}

/// Forbids every id that would complete a run of `size` ids of `from` at the end of `ids`.
void forbid_ngrams(std::span<float> logits, Ids ids, Ids from, std::int64_t size) {
  const auto n = static_cast<std::size_t>(size);
  if (size <= 0 || from.size() < n || ids.size() + 1 < n) return;
  const Ids begin = ids.last(n - 1);
  for (std::size_t at = 0; at + n <= from.size(); ++at) {
    const Ids run = from.subspan(at, n);
    if (std::equal(begin.begin(), begin.end(), run.begin())) forbid(logits, run.last(1));
  }
}

/// As often as it occurs; of a token that occurs twice in one sum, as published.
void penalize_chosen(std::span<float> logits, Ids chosen, double penalty) {
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    const auto here = chosen.begin() + static_cast<std::ptrdiff_t>(i);
    if (!valid(*here, logits) || std::find(chosen.begin(), here, *here) != here) continue;
    const auto times = static_cast<double>(std::count(here, chosen.end(), *here));
    logits[static_cast<std::size_t>(*here)] -= static_cast<float>(penalty * times);
  }
}

void raise_stop(std::span<float> logits, Ids stop_ids, double factor) {
  for (const std::int32_t id : stop_ids) {
    if (!valid(id, logits)) continue;
    float& score = logits[static_cast<std::size_t>(id)];
    if (std::isfinite(score)) score += std::abs(score) * static_cast<float>(factor - 1);
  }
}

}  // namespace

/// From the untouched row, so that an id that occurs twice is penalised once.
void Sampler::penalize(std::span<float> logits, Ids ids, double penalty) {
  if (penalty == 1.0) return;
  scratch_.assign(logits.begin(), logits.end());
  const auto factor = static_cast<float>(penalty);
  for (const std::int32_t id : ids) {
    if (!valid(id, logits)) continue;
    const float score = scratch_[static_cast<std::size_t>(id)];
    logits[static_cast<std::size_t>(id)] = score < 0 ? score * factor : score / factor;
  }
}

void Sampler::apply_rules(std::span<float> logits, const SamplingState& state) {
  const SamplingOptions& o = options_;
  const auto length = static_cast<std::int64_t>(state.ids.size());
  const std::int64_t made = length - state.prompt_tokens;
  for (const SequenceBias& one : o.sequence_bias) bias(logits, state.ids, one.ids, one.bias);
  penalize_chosen(logits, state.chosen, o.diversity_penalty);
  penalize(logits, state.source, 1 / o.encoder_repetition_penalty);
  penalize(logits, state.ids, o.repetition_penalty);
  if (o.frequency_penalty != 0 || o.presence_penalty != 0) {
    apply_counts(logits, state.ids.subspan(static_cast<std::size_t>(state.prompt_tokens)),
                 o.frequency_penalty, o.presence_penalty);
  }
  dry_.apply(logits, state.ids, o.dry);
  forbid_ngrams(logits, state.ids, state.ids, o.no_repeat_ngram_size);
  forbid_ngrams(logits, state.ids, state.source, o.encoder_no_repeat_ngram_size);
  for (const std::vector<std::int32_t>& word : o.bad_words) {
    const bool stops = word.size() == 1 && std::find(state.stop_ids.begin(), state.stop_ids.end(),
                                                     word[0]) != state.stop_ids.end();
    if (!stops) bias(logits, state.ids, word, kNever);
  }
  if (made < o.min_new_tokens) forbid(logits, state.stop_ids);
  if (o.forced_bos && length == 1) force(logits, Ids(&*o.forced_bos, 1));
  if (!o.forced_eos.empty() && state.max_new_tokens > 0 && made == state.max_new_tokens - 1) {
    force(logits, o.forced_eos);
  }
  if (o.exponential_decay && made > o.exponential_decay->start) {
    const auto beyond = static_cast<double>(made - o.exponential_decay->start);
    raise_stop(logits, state.stop_ids, std::pow(o.exponential_decay->factor, beyond));
  }
  forbid(logits, o.suppress);
  if (!o.force_words.empty()) force_missing(logits, state);
  const std::int64_t first = o.forced_bos && state.prompt_tokens <= 1 ? 1 : 0;
  if (made == first) forbid(logits, o.begin_suppress);
  if (o.timestamps) {
    apply_timestamp_rules(logits, state.ids.subspan(static_cast<std::size_t>(state.prompt_tokens)),
                          *o.timestamps);
  }
}

/// While a word is missing the answer does not end; where only room for the missing ones is left,
/// they are written.
void Sampler::force_missing(std::span<float> logits, const SamplingState& state) const {
  const Ids made = state.ids.subspan(static_cast<std::size_t>(state.prompt_tokens));
  const MissingWords missing = missing_words(made, options_.force_words);
  if (missing.next < 0) return;
  const std::int64_t left = state.max_new_tokens - static_cast<std::int64_t>(made.size());
  if (state.max_new_tokens > 0 && left <= missing.ids) return force(logits, {&missing.next, 1});
  forbid(logits, state.stop_ids);
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

}  // namespace perilune
