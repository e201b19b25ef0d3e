// How a request ends: well, or with an error; also where memory has run out.
#include "engine/base/error.h"
#include "engine/device/context.h"
#include "engine/serving/prefixes.h"
#include "engine/serving/scheduler_state.h"

namespace perilune {

/// The events of a request's end.
void Scheduler::State::tell_end(const RequestPointer& request, FinishReason reason) {
  if (reason == FinishReason::error) {
    Event event;
    event.kind = EventKind::error;
    event.text = request->progress.error;
    emit(request, std::move(event));
  }
  Event event;
  event.kind = EventKind::done;
  event.text = finish_reason_name(request->reason());
  request->progress.state = RequestState::done;  // others may read it from here on
  emit(request, std::move(event));
}

/// Ends a request, also where there is no memory to tell all of it.
void Scheduler::State::finish(const RequestPointer& request, FinishReason reason) {
  if (request->done()) return;
  const bool keep_pages = in_flight(*request);  // a pass that runs still writes to them
  try {
    if (request->progress.beams && !keep_pages) settle_beams(*request, reason);
  } catch (const std::bad_alloc&) {             // the beams that run are not the answer
    request->progress.error = "out of memory";  // short enough to need none
    request->progress.error_code = ErrorCode::memory;
    reason = FinishReason::error;
  }
  if (!keep_pages && request->compares()) {
    request->sequences.erase(
        request->sequences.begin() + static_cast<std::ptrdiff_t>(request->answers()),
        request->sequences.end());
  }
  for (Sequence& sequence : request->sequences) {
    try {
      if (!sequence.finished) sequence.text += flush_text(sequence);
      if (sequence.emitted < sequence.text.size()) release_text(request, sequence, -1);
    } catch (const std::exception&) {
      // The text so far is what there is.
    }
    if (!sequence.finished) sequence.reason = reason;
    sequence.finished = true;
    if (keep_pages) continue;
    publish_pages(*request, sequence, true);
    release_cache(*request, sequence);
  }
  request->progress.times.finished = now();
  ++stats.finished;
  ended.push_back(request.get());
  try {
    tell_end(request, reason);
  } catch (const std::bad_alloc&) {
    request->progress.state = RequestState::done;
  }
  inbox.close(*request);
  {
    const std::lock_guard lock(told_mutex);
    finished.push_back(request);
  }
  try {
    announce(*request);
    const std::shared_ptr<Policy> told = policy;
    told->finished(queue.changed(*request));
  } catch (const std::bad_alloc&) {
    // It is not the policy's fault.
  } catch (const std::exception& error) {
    context->warn(error.what(), "policy " + policy->name());
  }
}

void Scheduler::State::fail(const RequestPointer& request, std::string_view text, ErrorCode code) {
  if (request->done()) return;
  request->progress.error_code = code;
  try {
    request->progress.error = text;
  } catch (const std::bad_alloc&) {
    request->progress.error = "out of memory";  // short enough to need none
    request->progress.error_code = ErrorCode::memory;
  }
  finish(request, FinishReason::error);
}

}  // namespace perilune
