// Answers that are chosen when other sequences of their request are computed, too: the same answer
// without the prompt (guidance), or each with one of its likely next tokens (contrastive search).
// What a pass gives of one is held until all are there.
#include <algorithm>

#include "engine/sampling/guidance.h"
#include "engine/sampling/logits.h"
#include "engine/serving/scheduler_state.h"

namespace perilune {

namespace {

std::span<const float> hidden_at(const Tensor& hidden, std::int64_t token) {
  const std::int64_t width = hidden.shape().axis(1).size;
  return {hidden.as<float>() + token * width, static_cast<std::size_t>(width)};
}

bool held_by_all(const Request& request) {
  return std::all_of(
      request.sequences.begin(), request.sequences.end(),
      [](const Sequence& sequence) { return sequence.finished || sequence.held.there; });
}

}  // namespace

/// Hidden states of a text that nobody has seen yet: of a contrastive search.
void Scheduler::State::look_at(const ScheduledRow& row, const ScheduledGroup& group) const {
  if (dry || row.of().role != SequenceRole::answer) return;
  ContrastiveSearch& search = *row.request->progress.contrastive;
  for (std::int64_t t = std::max<std::int64_t>(0, search.seen() - row.first); t < row.tokens; ++t) {
    search.add(hidden_at(group.hidden, row.at + t));
  }
}

/// Keeps the logits that a row's choices are made by, from row `first` of the pass' on. One that
/// was computed again has them.
void Scheduler::State::hold(const ScheduledRow& row, const ScheduledGroup& group,
                            std::int64_t first) {
  Sequence& sequence = row.of();
  Held& held = sequence.held;
  if (held.there) return;
  held.ahead = std::move(sequence.ahead);
  sequence.ahead.clear();
  held.there = true;
  held.choices = static_cast<std::size_t>(row.choices);
  if (dry) return;
  for (std::int64_t i = 0; i < row.choices; ++i) {
    const std::span<const float> logits = logits_at(group.logits, first + i, false);
    held.logits.insert(held.logits.end(), logits.begin(), logits.end());
  }
  if (sequence.role != SequenceRole::candidate) return;
  const std::span<const float> hidden = hidden_at(group.hidden, row.at + row.tokens - 1);
  held.hidden.assign(hidden.begin(), hidden.end());
}

/// Goes on where all that a choice waits for is there: not before a pass' last row is taken in.
void Scheduler::State::advance_compared(const RequestPointer& request) {
  if (request->done() || !request->compares() || request->rows() > 0) return;
  if (!held_by_all(*request)) return;
  try {
    if (request->spec.contrastive.on()) {
      try_candidates(request);
    } else {
      choose_guided(request);
    }
  } catch (const std::exception&) {
    tell_failure([&](std::string_view text, ErrorCode code) { fail(request, text, code); });
  }
}

/// A sequence's scores (logits_row's own) as they are with guidance.
void Scheduler::State::guided(Request& request, std::size_t index, std::span<float> scores) const {
  if (!request.spec.guidance.on() || dry) return;
  const Held& other = request.without_of(index).held;
  const std::span<const float> without =
      std::span(other.logits).subspan(other.choice * scores.size(), scores.size());
  guide(scores, without, request.spec.guidance.scale);
}

/// Chooses for all answers, whose companions then go on with what was chosen.
void Scheduler::State::choose_guided(const RequestPointer& request) {
  if (request->progress.beams) {
    for (std::size_t i = 0; i < request->answers() && !request->done(); ++i) {
      if (!request->sequences[i].offered) {
        offer_beam(request, i, own_row(request->sequences[i].held.logits));
      }
    }
    return;  // advance_search() goes on
  }
  if (request->answers() == 1 && request->spec.options.n > 1) split_outputs(*request);
  const std::size_t answers = request->answers();
  for (std::size_t i = 0; i < answers; ++i) {
    if (request->sequences[i].finished) continue;
    if (!take_guided(request, i)) return;
  }
}

/// The next tokens of one answer, as many as its guesses come true. False: the request has ended.
bool Scheduler::State::take_guided(const RequestPointer& request, std::size_t index) {
  const Held held = std::move(request->sequences[index].held);
  request->sequences[index].held.clear();
  const std::size_t before = request->sequences[index].ids.size();
  request->progress.drafted += static_cast<std::int64_t>(held.choices) - 1;
  const std::size_t width = held.logits.size() / held.choices;
  for (std::size_t i = 0; i < held.choices; ++i) {
    request->progress.current_sequence = index;
    request->without_of(index).held.choice = i;
    if (dry) {
      const std::int32_t any = 0;
      accept(request, index, {&any, 1});
    } else {
      choose_scores(request, index, own_row(std::span(held.logits).subspan(i * width, width)));
    }
    if (request->done()) return false;
    const Sequence& answer = request->sequences[index];
    if (answer.finished || i + 1 == held.choices || answer.ids.back() != held.ahead[i + 1]) break;
    ++request->progress.accepted;
  }
  Sequence& answer = request->sequences[index];
  Sequence& without = request->without_of(index);
  without.held.clear();
  without.ids.insert(without.ids.end(), answer.ids.begin() + static_cast<std::ptrdiff_t>(before),
                     answer.ids.end());
  if (answer.finished) {
    without.finished = true;
    without.cache.reset();
  } else {
    drop_guesses(answer);
    drop_guesses(without);
  }
  return true;
}

/// A step of contrastive search: candidates that are computed give the next token, and that one's
/// scores the next candidates.
void Scheduler::State::try_candidates(const RequestPointer& request) {
  if (request->sequences.back().role == SequenceRole::candidate) {
    take_candidate(request);
    if (request->done() || request->rows() > 0) return;  // the text without the prompt is behind
  }
  ContrastiveSearch& search = *request->progress.contrastive;
  if (search.candidates().empty()) find_candidates(request);
  if (request->done()) return;
  const auto length = static_cast<std::int64_t>(request->sequences[0].ids.size());
  if (request->spec.max_tokens > 0 && length >= request->spec.max_tokens) {
    return take_id(request, search.candidates().front());  // there is no position for a pass
  }
  const std::vector<std::int32_t> ids = search.candidates();
  request->sequences.reserve(request->sequences.size() + ids.size());
  for (const std::int32_t id : ids) {
    const Sequence& answer = request->sequences[0];
    Sequence candidate;
    candidate.role = SequenceRole::candidate;
    candidate.ids = answer.ids;
    candidate.ids.push_back(id);
    candidate.computed = answer.computed;
    candidate.output_index = answer.output_index;
    candidate.cache = answer.cache->fork();
    request->sequences.push_back(std::move(candidate));
  }
}

/// By the scores after all rules. The request fails where these leave none.
void Scheduler::State::find_candidates(const RequestPointer& request) {
  ContrastiveSearch& search = *request->progress.contrastive;
  if (dry) {
    const float any = 0;
    return search.find_candidates({&any, 1});
  }
  request->progress.current_sequence = 0;
  std::span<float> scores = own_row(request->sequences[0].held.logits);
  const SamplingState state = sampling_state(*request, 0);
  Sampled sampled;
  sampled.id = 0;
  sampled.not_finite = holds_nan(scores);
  if (!check_sampled(request, sampled, true, state.position)) return;
  guided(*request, 0, scores);
  request->progress.sampler->restrict(scores, state);
  scores = process(*request, 0, scores);
  sampled.not_finite = holds_nan(scores);
  if (!sampled.not_finite) search.find_candidates(scores);
  if (search.candidates().empty()) sampled.id = -1;
  check_sampled(request, sampled, false, state.position);
}

/// The best of the candidates is what the answer goes on with, and its pages and scores are the
/// answer's.
void Scheduler::State::take_candidate(const RequestPointer& request) {
  ContrastiveSearch& search = *request->progress.contrastive;
  std::vector<Sequence>& sequences = request->sequences;
  const auto first = static_cast<std::size_t>(
      std::find_if(sequences.begin(), sequences.end(),
                   [](const Sequence& s) { return s.role == SequenceRole::candidate; }) -
      sequences.begin());
  std::vector<std::span<const float>> hidden;
  for (std::size_t i = first; i < sequences.size(); ++i)
    hidden.emplace_back(sequences[i].held.hidden);
  Sequence best = std::move(sequences[first + (dry ? 0 : search.best(hidden))]);
  sequences.erase(sequences.begin() + static_cast<std::ptrdiff_t>(first), sequences.end());
  const std::int32_t id = best.ids.back();
  sequences[0].cache = std::move(best.cache);  // before the end gives pages back
  sequences[0].computed = best.computed;
  take_id(request, id);
  if (request->done()) return;
  search.add(best.held.hidden);
  best.held.hidden.clear();
  sequences[0].held = std::move(best.held);
  if (!request->spec.guidance.on()) return;
  Sequence& without = request->without_of(0);
  without.held.clear();
  without.ids.push_back(id);
}

/// The token that the search chose goes the way of one that the sampler chooses.
void Scheduler::State::take_id(const RequestPointer& request, std::int32_t id) {
  request->progress.contrastive->forget_candidates();
  request->progress.current_sequence = 0;
  if (dry) return accept(request, 0, {&id, 1});
  const std::span<float> scores = own_row(request->sequences[0].held.logits);
  const SamplingState state = sampling_state(*request, 0);
  Sampled sampled;
  request->progress.sampler->observe(scores, state, sampled);
  std::fill(scores.begin(), scores.end(), kNever);
  scores[static_cast<std::size_t>(id)] = 0;
  request->progress.sampler->choose(scores, state, sampled);
  take_sampled(request, 0, sampled, true);
}

}  // namespace perilune
