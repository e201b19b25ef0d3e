// Beam search inside the scheduler: running beams are the sequences of a request.
#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/device/context.h"
#include "engine/sampling/logits.h"
#include "engine/serving/constraint.h"
#include "engine/serving/scheduler_state.h"

namespace perilune {

namespace {

/// A row whose every token is masked out stays as it is.
void to_log_probabilities(std::span<float> row) {
  if (row[best_of(row)] == kNever) return;
  const double shift = log_sum_exp(row);
  for (float& x : row) x = static_cast<float>(static_cast<double>(x) - shift);
}

std::vector<std::int32_t> new_ids(const Request& request, const Sequence& sequence) {
  const auto ids = new_ids_of(request.spec, sequence);
  return {ids.begin(), ids.end()};
}

bool is_stop(const Request& request, std::int32_t id) {
  const auto& stops = request.spec.options.stop_ids;
  return std::find(stops.begin(), stops.end(), id) != stops.end();
}

/// Sets text, and what stopped it, from a sequence's new ids.
void set_text(const Request& request, std::vector<std::int32_t> ids, Sequence& sequence) {
  if (!request.spec.tokenizer) return;
  if (!ids.empty() && is_stop(request, ids.back())) ids.pop_back();
  const auto decoder = answer_decoder(request.spec);
  StopMatcher stops(request.spec.options.stop_strings);
  sequence.text = request.spec.echo;
  for (const std::int32_t id : ids) sequence.text += stops.push(decoder->push(id));
  sequence.text += stops.push(decoder->flush());
  sequence.text += stops.flush();
  if (stops.matched()) sequence.stop = stops.matched_text();
}

}  // namespace

std::string beam_text(const Request& request, const Sequence& beam) {
  Sequence text;
  set_text(request, new_ids(request, beam), text);
  return text.text;
}

/// What ends a hypothesis: a stop id, a stop text, the length.
class Scheduler::State::BeamJudge final : public BeamSearch::Judge {
 public:
  BeamJudge(State& state, const RequestPointer& request)
      : state_(state), pointer_(request), request_(*request) {}

  bool ends(std::size_t parent, std::int32_t token) override {
    if (is_stop(request_, token)) return true;
    const bool watched = !request_.spec.hooks.processors.empty();
    if (request_.spec.options.stop_strings.empty() && !watched) return false;
    std::vector<std::int32_t> all = ids(parent);
    all.push_back(token);
    if (is_complete(request_, all)) return true;
    if (request_.spec.options.stop_strings.empty()) return false;
    Sequence text;
    set_text(request_, std::move(all), text);
    return !text.stop.empty();
  }

  bool last(std::size_t parent) override {
    const auto length = static_cast<std::int64_t>(request_.sequences[parent].ids.size()) + 1;
    return limit_reached(request_, length) != FinishReason::none;
  }

  std::vector<std::int32_t> ids(std::size_t beam) override {
    return new_ids(request_, request_.sequences[beam]);
  }

  std::span<const float> process(std::size_t beam, std::span<const float> row,
                                 std::span<const std::int32_t> chosen) override {
    return state_.beam_scores(pointer_, beam, state_.own_row(row), chosen);
  }

 private:
  State& state_;
  const RequestPointer& pointer_;
  const Request& request_;
};

/// Takes one running beam's scores of the next token (logits_row's own).
void Scheduler::State::offer_beam(const RequestPointer& request, std::size_t index,
                                  std::span<float> row) {
  Sampled sampled;
  sampled.not_finite = holds_nan(row);
  sampled.id = 0;
  const auto position = static_cast<std::int64_t>(request->sequences[index].ids.size());
  if (!check_sampled(request, sampled, true, position)) return;
  to_log_probabilities(row);
  std::span<const float> offered = row;
  if (!request->progress.beams->grouped()) offered = beam_scores(request, index, row, {});
  if (offered.empty()) return;
  request->progress.beams->offer(index, offered);
  request->sequences[index].offered = true;
}

/// A beam's log-probabilities (logits_row's own) after all rules; `chosen` by other groups at this
/// position. Empty: the request has failed.
std::span<const float> Scheduler::State::beam_scores(const RequestPointer& request,
                                                     std::size_t index, std::span<float> scores,
                                                     std::span<const std::int32_t> chosen) {
  request->progress.current_sequence = index;
  SamplingState state = sampling_state(*request, index);
  state.chosen = chosen;
  guided(*request, index, scores);
  request->progress.sampler->restrict(scores, state);
  if (!request->spec.hooks.processors.empty()) {
    scores = process(*request, index, scores);
    Sampled sampled;
    sampled.id = 0;
    sampled.not_finite = holds_nan(scores);
    if (!check_sampled(request, sampled, false, state.position)) return {};
  }
  if (request->spec.options.beams.renormalize) to_log_probabilities(scores);
  return scores;
}

/// Goes on where every running beam has offered. Not before a pass' last row is taken in: a beam
/// that had offered, was preempted and is computed again has its row among those of others, and is
/// the search's only until it goes on.
void Scheduler::State::advance_search(const RequestPointer& request) {
  if (request->done() || !request->progress.beams) return;
  if (!request->progress.beams->complete() || request->rows() > 0) return;
  try {
    advance_beams(request);
  } catch (const std::exception&) {
    tell_failure([&](std::string_view text, ErrorCode code) { fail(request, text, code); });
  }
}

/// All running beams have offered: the best go on, with their parents' pages until they write.
void Scheduler::State::advance_beams(const RequestPointer& request) {
  BeamJudge judge(*this, request);
  const std::vector<BeamSearch::Continuation> next = request->progress.beams->advance(judge);
  if (request->done()) return;  // a processor has failed
  if (request->progress.times.first_token == 0) request->progress.times.first_token = now();
  if (next.empty()) {
    if (request->progress.beams->hypotheses().empty()) {
      fail(request, "generate: every token is masked out", ErrorCode::argument);
    } else {
      finish(request, FinishReason::stop);
    }
    return;
  }
  std::vector<Sequence> sequences;
  for (const BeamSearch::Continuation& at : next) {
    const Sequence& parent = request->sequences[at.parent];
    Sequence sequence;
    sequence.ids = parent.ids;
    sequence.ids.push_back(at.token);
    sequence.computed = parent.computed;
    sequence.cache = parent.cache->fork();
    sequence.output_index = sequences.size();
    sequence.score = at.score;
    sequences.push_back(std::move(sequence));
  }
  for (std::size_t i = 0; i < next.size() && request->spec.guidance.on(); ++i) {
    const Sequence& parent = request->without_of(next[i].parent);
    Sequence sequence;
    sequence.role = SequenceRole::without;
    sequence.ids = parent.ids;
    sequence.ids.push_back(next[i].token);
    sequence.computed = parent.computed;
    sequence.cache = parent.cache->fork();
    sequence.output_index = i;
    sequences.push_back(std::move(sequence));
  }
  request->sequences = std::move(sequences);
}

/// The request's outputs: its best answers, or where it was ended early the beams that ran.
void Scheduler::State::settle_beams(Request& request, FinishReason reason) const {
  const auto outputs = static_cast<std::size_t>(request.spec.options.n);
  const std::vector<std::int32_t>& first = request.sequences[0].ids;
  const std::vector<std::int32_t> prompt(
      first.begin(),
      first.begin() + static_cast<std::ptrdiff_t>(std::min<std::int64_t>(
                          request.spec.prompt_tokens, static_cast<std::int64_t>(first.size()))));
  std::vector<Sequence> sequences;
  for (const BeamSearch::Hypothesis& hypothesis : request.progress.beams->hypotheses()) {
    if (sequences.size() == outputs) break;
    Sequence sequence;
    sequence.ids = prompt;
    sequence.ids.insert(sequence.ids.end(), hypothesis.ids.begin(), hypothesis.ids.end());
    sequence.score = hypothesis.score;
    sequence.output_index = sequences.size();
    sequence.finished = true;
    set_text(request, hypothesis.ids, sequence);
    const bool stopped = is_stop(request, hypothesis.ids.back()) || !sequence.stop.empty() ||
                         is_complete(request, hypothesis.ids);
    const FinishReason limit =
        limit_reached(request, static_cast<std::int64_t>(sequence.ids.size()));
    sequence.reason = stopped ? FinishReason::stop : limit;
    sequences.push_back(std::move(sequence));
  }
  if (sequences.empty() || reason == FinishReason::cancelled || reason == FinishReason::error) {
    if (sequences.empty()) {
      sequences = std::move(request.sequences);
      sequences.resize(std::min(sequences.size(), outputs));
    }
    for (Sequence& sequence : sequences) {
      if (!sequence.finished) set_text(request, new_ids(request, sequence), sequence);
      sequence.finished = true;
      sequence.reason = reason;
      sequence.cache.reset();
    }
  }
  request.sequences = std::move(sequences);
}

}  // namespace perilune
