// After the commit: logits to tokens, tokens to text, text to events, row by row.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/base/error.h"
#include "engine/device/context.h"
#include "engine/sampling/logits.h"
#include "engine/serving/constraint.h"
#include "engine/serving/memory.h"
#include "engine/serving/prefixes.h"
#include "engine/serving/scheduler_state.h"

namespace perilune {

void check_processed(const Tensor& row, std::int64_t size) {
  const bool good = row.defined() && row.dtype() == DType::f32 && row.contiguous() &&
                    row.elements() == size && row.device().host_visible();
  if (good) return;
  throw Error(ErrorCode::shape, "processors", "a processor must leave a row as it got it")
      .operand("row", row.defined() ? row.describe() : "nothing")
      .hint("write into the row with row:set");
}

FinishReason limit_reached(const Request& request, std::int64_t length) {
  const GuidanceOptions& guidance = request.spec.guidance;
  const std::int64_t longer =  // the text without the prompt
      guidance.on() ? static_cast<std::int64_t>(guidance.ids.size()) - request.spec.prompt_tokens
                    : 0;
  if (length - request.spec.prompt_tokens >= request.spec.options.max_new_tokens) {
    return FinishReason::length;
  }
  if (request.spec.max_tokens > 0 &&
      length + std::max<std::int64_t>(0, longer) >= request.spec.max_tokens) {
    return FinishReason::context;
  }
  return FinishReason::none;
}

std::string flush_text(Sequence& sequence) {
  if (!sequence.decoder) return "";
  std::string text = sequence.decoder->flush();
  if (sequence.stops) {
    text = sequence.stops->push(text);
    text += sequence.stops->flush();
  }
  return text;
}

/// Takes a committed pass into its requests: samples or collects. An error in one row is that
/// request's alone; where memory runs out between rows, of all whose rows are not taken in.
void Scheduler::State::complete(ScheduledGroup& group) {
  try {
    complete_rows(group);
  } catch (const std::bad_alloc&) {
    for (const ScheduledRow& row : group.rows) fail(row.request, kOutOfMemory, ErrorCode::memory);
  }
}

void Scheduler::State::complete_rows(ScheduledGroup& group) {
  group.fillers.clear();
  if (group.padded) filler_caches.clear();
  for (const ScheduledRow& row : group.rows) {
    if (group.kind == PassKind::encode) {
      row.request->progress.encoded = true;
    } else {
      row.of().computed += row.tokens;
    }
    result.tokens += row.tokens;
    stats.tokens += row.tokens;
  }
  const auto rows = static_cast<std::int64_t>(group.rows.size());
  result.rows += rows;
  stats.rows += rows;
  const std::int64_t positions = computed_positions(group);
  result.positions += positions;
  stats.positions += positions;
  for (const ScheduledRow& row : group.rows) {
    if (row.request->sequences.size() > 1 && !row.request->done()) share_again(*row.request);
  }
  std::int64_t next = 0;
  for (std::size_t r = 0; r < group.rows.size(); ++r) {
    const ScheduledRow& row = group.rows[r];
    const RequestPointer request = row.request;
    const std::int64_t first = next;
    next += static_cast<std::int64_t>(row.wanted);
    if (request->done()) {  // cancelled meanwhile
      drop_row(row);
      continue;
    }
    settle(*request);
    if (group.kind == PassKind::encode) continue;
    if (row.of().ahead.empty()) publish_pages(*request, row.of(), false);
    try {
      if (group.kind == PassKind::forward) {
        collect(row, r, group);
      } else {
        sample_row(row, group, first);
      }
    } catch (const std::exception&) {
      tell_failure([&](std::string_view text, ErrorCode code) { fail(request, text, code); });
    }
  }
  for (const ScheduledRow& row : group.rows) {
    advance_compared(row.request);
    advance_search(row.request);
  }
  for (const ScheduledRow& row : group.rows) {
    if (row.request->done()) continue;
    drop_outgrown_keys(*row.request);
    if (row.request->spec.recompute && row.chooses) start_over(*row.request);
  }
  if (group.kind == PassKind::generate) guess(group);
  for (const ScheduledRow& row : group.rows) {
    if (!row.request->done()) queue.changed(*row.request);
  }
}

/// `first`: where the row's wanted logits begin.
void Scheduler::State::sample_row(const ScheduledRow& row, const ScheduledGroup& group,
                                  std::int64_t first) {
  const RequestPointer request = row.request;
  const Tensor& logits = group.logits;
  if (request->spec.options.prompt_logprobs && row.sequence == 0) {
    score_prompt(row, group.wanted_of(row), logits, first);
  }
  if (request->spec.contrastive.on()) look_at(row, group);
  if (row.chooses) {
    const std::int64_t at = first + static_cast<std::int64_t>(row.wanted) - 1;
    if (request->compares()) {
      hold(row, group, at - row.choices + 1);
    } else if (request->progress.beams) {
      // One that was computed again may have offered before.
      if (!row.of().offered) {
        offer_beam(request, row.sequence, logits_at(logits, at, changes_rows(*request)));
      }
    } else if (request->sequences.size() == 1 && request->spec.options.n > 1) {
      split_outputs(*request);
      for (std::size_t s = 0; s < request->sequences.size() && !request->done(); ++s) {
        choose(request, s, logits, at);
      }
    } else if (!row.of().ahead.empty()) {
      choose_ahead(row, logits, at - row.choices + 1);
    } else {
      choose(request, row.sequence, logits, at);
    }
  } else if (!row.chooses && request->spec.options.max_new_tokens == 0 &&
             request->pending_tokens() == 0) {
    finish(request, FinishReason::length);
  }
}

void Scheduler::State::score_prompt(const ScheduledRow& row, std::span<const std::int64_t> wanted,
                                    const Tensor& logits, std::int64_t first) {
  Sequence& sequence = row.of();
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const std::int64_t position = row.first + wanted[i];
    if (position != static_cast<std::int64_t>(sequence.prompt_logprobs.size())) continue;
    if (position + 1 >= row.request->spec.prompt_tokens) break;
    const std::int64_t at = first + static_cast<std::int64_t>(i);
    const std::int32_t id = sequence.ids[static_cast<std::size_t>(position) + 1];
    const std::span<float> scores = logits_at(logits, at, false);
    if (id < 0 || id >= static_cast<std::int32_t>(scores.size())) {
      throw Error(
          ErrorCode::argument, "generate",
          "id " + std::to_string(id) + " has no logit; there are " + std::to_string(scores.size()));
    }
    sequence.prompt_logprobs.push_back(static_cast<float>(log_probability(scores, id)));
  }
}

/// A copy of one row that may be written to; `own_copy`: one that a script may keep.
std::span<float> Scheduler::State::logits_at(const Tensor& logits, std::int64_t at, bool own_copy) {
  const Tensor source = logits.pick(0, at);
  const std::int64_t size = source.elements();
  const bool plain =
      source.dtype() == DType::f32 && source.contiguous() && source.device().host_visible();
  if (!plain) {
    Tensor converted = source.to(context->cpu_device()).to(DType::f32);
    logits_row = converted.copy();
  } else if (own_copy || !logits_row.defined() || logits_row.elements() != size ||
             logits_row.storage().use_count() > 1) {
    logits_row = source.copy();
  } else {
    std::memcpy(logits_row.data(), source.data(), source.bytes());
  }
  return {logits_row.as<float>(), static_cast<std::size_t>(size)};
}

SamplingState Scheduler::State::sampling_state(const Request& request, std::size_t index) const {
  const Sequence& sequence = request.sequences[index];
  SamplingState state;
  state.ids = sequence.ids;
  state.prompt_tokens = request.spec.prompt_tokens;
  state.position = static_cast<std::int64_t>(sequence.ids.size());
  state.output_index = sequence.output_index;
  state.stop_ids = request.spec.options.stop_ids;
  state.max_new_tokens = request.spec.options.max_new_tokens;
  state.reachable = request.spec.reachable;
  state.source = state.ids.first(static_cast<std::size_t>(request.spec.prompt_tokens));
  if (request.spec.source) state.source = request.spec.source_ids;
  return state;
}

/// Fails the request for a row that gave no token.
bool Scheduler::State::check_sampled(const RequestPointer& request, const Sampled& sampled,
                                     bool from_model, std::int64_t position) {
  if (!sampled.not_finite && sampled.id >= 0) return !request->done();
  const std::string place = " at position " + std::to_string(position + 1);
  if (sampled.not_finite) {
    fail(request,
         from_model ? "generate: the logits hold NaN" + place +
                          "; the weights are damaged, or the compute mode overflows"
                    : "processors: a processor wrote NaN into the scores" + place,
         from_model ? ErrorCode::format : ErrorCode::argument);
  } else {
    fail(request, "generate: every token is masked out" + place, ErrorCode::argument);
  }
  return false;
}

void Scheduler::State::choose(const RequestPointer& request, std::size_t index,
                              const Tensor& logits, std::int64_t at) {
  enter(StepPart::choose);
  if (dry) {
    const std::int32_t any = 0;
    return accept(request, index, {&any, 1});
  }
  request->progress.current_sequence = index;
  if (take_chosen(request, index, at) || take_best(request, index, logits, at)) return;
  choose_scores(request, index, logits_at(logits, at, changes_rows(*request)));
}

/// A row of scores that is logits_row's own, and one that a script may keep.
std::span<float> Scheduler::State::own_row(std::span<const float> row) {
  logits_row =
      Tensor::from(context, row, Shape({{"vocab", static_cast<std::int64_t>(row.size())}}));
  return {logits_row.as<float>(), row.size()};
}

/// The next token of a sequence by the model's own scores (logits_row's).
void Scheduler::State::choose_scores(const RequestPointer& request, std::size_t index,
                                     std::span<float> scores) {
  const SamplingState state = sampling_state(*request, index);
  Sampled sampled;
  request->progress.sampler->observe(scores, state, sampled);
  const bool from_model = sampled.not_finite;
  if (!from_model) {
    guided(*request, index, scores);
    request->progress.sampler->restrict(scores, state);
    scores = process(*request, index, scores);
  }
  request->progress.sampler->choose(scores, state, sampled);
  take_sampled(request, index, sampled, from_model);
}

/// Into its sequence, or the request fails with what is wrong.
void Scheduler::State::take_sampled(const RequestPointer& request, std::size_t index,
                                    Sampled& sampled, bool from_model) {
  Sequence& sequence = request->sequences[index];
  const auto position = static_cast<std::int64_t>(sequence.ids.size());
  if (!check_sampled(request, sampled, from_model, position)) return;
  if (request->spec.options.sampling.logprobs >= 0) {
    sequence.logprobs.push_back(sampled.logprob);
    sequence.top_logprobs.push_back(std::move(sampled.top));
  }
  accept(request, index, {&sampled.id, 1});
}

/// Whether a row of its scores must be a tensor that nobody else writes to.
bool Scheduler::State::changes_rows(const Request& request) const {
  const auto& processors = request.spec.hooks.processors;
  return std::any_of(processors.begin(), processors.end(),
                     [](const auto& processor) { return processor->changes(); });
}

/// The scores (logits_row's own) after the request's processors.
std::span<float> Scheduler::State::process(const Request& request, std::size_t index,
                                           std::span<float> scores) {
  if (request.spec.hooks.processors.empty()) return scores;
  const Sequence& sequence = request.sequences[index];
  Tensor row = logits_row;
  for (const std::shared_ptr<Processor>& processor : request.spec.hooks.processors) {
    const std::span<const std::uint32_t> allowed = processor->allowed(request, sequence);
    if (!allowed.empty()) apply_mask(scores, allowed);
    if (!processor->changes()) continue;
    processor->change(row, request, sequence);
    check_processed(row, static_cast<std::int64_t>(scores.size()));
    scores = {row.as<float>(), scores.size()};
  }
  return scores;
}

/// Takes chosen ids into their sequence, as many as it wants before it ends.
void Scheduler::State::accept(const RequestPointer& request, std::size_t index,
                              std::span<const std::int32_t> ids) {
  enter(StepPart::events);
  std::size_t taken = 0;
  while (taken < ids.size() && !request->done() && !request->sequences[index].finished) {
    accept_one(request, index, ids[taken]);
    ++taken;
  }
  for (const std::shared_ptr<Processor>& processor : request->spec.hooks.processors) {
    if (request->done()) break;
    processor->accept(ids.first(taken), *request, request->sequences[index]);
  }
}

/// Text, reasons to stop, event, hook of one id.
void Scheduler::State::accept_one(const RequestPointer& request, std::size_t index,
                                  std::int32_t id) {
  Sequence& sequence = request->sequences[index];
  const GenerateOptions& options_of = request->spec.options;
  sequence.ids.push_back(id);
  if (!sequence.slid.empty()) sequence.slid.push_back(id);
  if (request->progress.times.first_token == 0) request->progress.times.first_token = now();
  const bool stop_id = std::find(options_of.stop_ids.begin(), options_of.stop_ids.end(), id) !=
                       options_of.stop_ids.end();
  if (!stop_id && sequence.decoder) {
    const std::string piece = sequence.decoder->push(id);
    sequence.text += sequence.stops ? sequence.stops->push(piece) : piece;
  }
  FinishReason reason = stop_id ? FinishReason::stop : FinishReason::none;
  const auto stopped_by_text = [&] {
    if (!sequence.stops || !sequence.stops->matched()) return false;
    sequence.stop = sequence.stops->matched_text();
    return true;
  };
  if (reason == FinishReason::none && stopped_by_text()) reason = FinishReason::stop;
  if (reason == FinishReason::none && request->spec.hooks.stop_when) {
    if (auto asked = request->spec.hooks.stop_when(*request)) {
      sequence.stop = *asked;
      reason = FinishReason::stop;
    }
  }
  if (reason == FinishReason::none && is_complete(*request, new_ids_of(request->spec, sequence))) {
    reason = FinishReason::stop;
  }
  if (reason == FinishReason::none)
    reason = limit_reached(*request, static_cast<std::int64_t>(sequence.ids.size()));
  const bool slides = reason == FinishReason::context && request->spec.slide_keep >= 0;
  if (slides) reason = FinishReason::none;
  if (reason != FinishReason::none) {
    sequence.text += flush_text(sequence);
    if (!stop_id && stopped_by_text()) reason = FinishReason::stop;
    sequence.finished = true;
    sequence.reason = reason;
    drop_guesses(sequence);
    publish_pages(*request, sequence, true);
    release_cache(*request, sequence);
  }
  if (slides && static_cast<std::int64_t>(sequence.context().size()) >= request->spec.max_tokens) {
    slide(*request, sequence);
  }
  std::string text;
  if (request->spec.hooks.on_token) text = sequence.text.substr(sequence.emitted);
  release_text(request, sequence, id);
  if (request->spec.hooks.on_token) request->spec.hooks.on_token(*request, id, text);
  if (request->unfinished() == 0) finish(request, request->reason());
}

/// An event with the text that none has carried yet.
void Scheduler::State::release_text(const RequestPointer& request, Sequence& sequence,
                                    std::int32_t id) {
  Event event;
  event.kind = EventKind::token;
  event.id = id;
  event.text = sequence.text.substr(sequence.emitted);
  event.output_index = sequence.output_index;
  sequence.emitted = sequence.text.size();
  emit(request, std::move(event));
}

void Scheduler::State::collect(const ScheduledRow& row, std::size_t index,
                               const ScheduledGroup& group) {
  const RequestPointer request = row.request;
  for (const auto& [name, tensor] : group.outputs) {
    request->progress.forward_outputs.emplace_back(
        name, row_output(tensor, index, group.run.binding(), *request->spec.forward_input,
                         group.plan->program()));
  }
  finish(request, FinishReason::stop);
}

}  // namespace perilune
