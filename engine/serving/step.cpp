// A step from its beginning to its end: what is new, one pass or what is left of one, counts.
#include <optional>

#include "engine/base/error.h"
#include "engine/device/context.h"
#include "engine/serving/scheduler_state.h"

namespace perilune {

/// Takes in what came by the inbox, tells the policy of it, ends what was cancelled.
void Scheduler::State::absorb() {
  if (absorbed == arrived.requests.size() && inbox.waiting()) {
    absorbed = 0;
    inbox.take(arrived);
    if (arrived.policy) {
      policy = std::move(arrived.policy);
      ++policy_number;
    }
  }
  for (; absorbed < arrived.requests.size(); ++absorbed) {
    const RequestPointer& request = arrived.requests[absorbed];
    // Ending a request needs no memory.
    const std::size_t open = queue.size() + 1;
    if (ended.capacity() < ended.size() + open) ended.reserve(2 * (ended.size() + open));
    {
      const std::lock_guard lock(told_mutex);
      const std::size_t most = finished.size() + open;
      if (finished.capacity() < most) finished.reserve(2 * most);
    }
    untold.push_back(request);
    try {
      queue.add(request, stats.steps);
    } catch (...) {
      untold.pop_back();
      throw;
    }
  }
  if (policy_told != policy_number) {  // one that keeps its own order hears of all that waits
    policy_told = policy_number;
    untold.clear();
    for (const QueueEntry& entry : queue.view()) untold.push_back(queue.find(entry.id));
  }
}

void Scheduler::State::announce(Request& request) {
  if (request.progress.told == policy_number) return;
  request.progress.told = policy_number;
  const std::shared_ptr<Policy> told = policy;  // it may be replaced meanwhile
  told->submitted(queue.changed(request));
}

void Scheduler::State::announce() {
  while (!untold.empty()) {
    const RequestPointer request = std::move(untold.front());
    untold.pop_front();
    if (request && !request->done()) announce(*request);
  }
}

void Scheduler::State::cancel_arrived() {
  for (const RequestPointer& request : arrived.cancelled) {
    if (!request->done()) finish(request, FinishReason::cancelled);
  }
  arrived.cancelled.clear();
}

void Scheduler::State::sweep() {
  for (const Request* request : ended) queue.remove(*request);
  ended.clear();
}

void Scheduler::State::emit(const RequestPointer& request, Event event) {
  if (!request->spec.keep_events) return;
  event.request = request->id;
  outbox->put(request, std::move(event));
}

void Scheduler::State::warn_starving() {
  while (const RequestPointer request = queue.starving(stats.steps, kStarvedSteps)) {
    ++stats.starved;
    Event event;
    event.kind = EventKind::warning;
    event.text = "request " + std::to_string(request->id) + " has not run for " +
                 std::to_string(kStarvedSteps) + " steps while others did: policy " +
                 policy->name() + " passes it over, or memory for its keys and values is not free";
    emit(request, std::move(event));
  }
}

/// What other threads may see of the counts.
void Scheduler::State::publish() {
  stats.running = static_cast<std::int64_t>(queue.running().size());
  stats.waiting = static_cast<std::int64_t>(queue.size()) - stats.running;
  stats.cache_bytes = 0;
  if (!queue.empty()) {
    for (const auto& pool : queue.pools()) stats.cache_bytes += pool->used_bytes();
  }
  const std::lock_guard lock(told_mutex);
  published = stats;
}

/// One pass, or what is left of one. False when nothing more can run in this call.
bool Scheduler::State::advance(double deadline, double budget_ms) {
  absorb();
  announce();
  cancel_arrived();
  sweep();
  if (work.empty()) {
    if (queue.empty()) {
      result.idle = true;
      return false;
    }
    enter(StepPart::decide);
    const bool planned = plan_step(budget_ms);
    enter(StepPart::rest);
    if (!planned) {
      sweep();
      return false;
    }
    ++stats.steps;
  }
  while (!work.empty()) {
    if (!run_group(deadline)) {
      result.pending = true;
      return false;
    }
  }
  sweep();
  warn_starving();
  return true;
}

StepResult Scheduler::step(double budget_ms) {
  State& state = *state_;
  if (state.stepping) {
    throw Error(ErrorCode::state, "step", "called from inside a step")
        .hint("callbacks may submit and cancel; step again when this one is over");
  }
  state.stepping = true;
  struct Leave {
    State& state;
    ~Leave() {
      state.stepping = false;
      state.working = !state.work.empty();
      state.publish();
      if (state.times) state.times->end();
    }
  } leave{state};
  std::optional<KernelClock::Running> timed;
  if (state.times) {
    state.times->begin();
    timed.emplace(state.times->kernels());
  }
  const double begin = state.now();
  const double deadline = budget_ms > 0 ? begin + budget_ms / 1e3 : 1e300;
  state.result = StepResult{};
  if (state.dry) state.dry->ran.clear();
  bool ran = false;
  try {
    while (state.advance(deadline, budget_ms)) {
      ran = true;
      if (budget_ms <= 0 || state.now() >= deadline) break;
    }
  } catch (...) {
    state.sweep();
    state.stats.busy_ms += (state.now() - begin) * 1e3;
    throw;
  }
  if (ran) state.result.idle = false;
  state.result.ms = (state.now() - begin) * 1e3;
  state.stats.busy_ms += state.result.ms;
  return state.result;
}

void Scheduler::keep_times(bool keep) {
  State& state = *state_;
  if (keep == (state.times != nullptr)) return;
  if (state.stepping || !state.work.empty()) {
    throw Error(ErrorCode::state, "step", "a step is under way");
  }
  if (keep) state.times = std::make_unique<StepTimes>(state.context->cpu().kernels());
  state.executions.use_clock(keep ? &state.times->kernels() : nullptr);
  if (!keep) state.times = nullptr;
}

const StepTimes* Scheduler::times() const {
  return state_->times.get();
}

}  // namespace perilune
