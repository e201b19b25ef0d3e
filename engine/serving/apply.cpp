// Asks the policy, and turns what was decided into the work of one step.
#include <algorithm>
#include <limits>

#include "engine/base/error.h"
#include "engine/base/number_text.h"
#include "engine/device/context.h"
#include "engine/serving/decide.h"
#include "engine/serving/memory.h"
#include "engine/serving/prefixes.h"
#include "engine/serving/scheduler_state.h"

namespace perilune {

namespace {

constexpr int kPatience = 64;  // plans in a row of which nobody could run
constexpr std::int64_t kEndless = std::numeric_limits<std::int32_t>::max();

std::string number(std::int64_t value) {
  return std::to_string(value);
}

std::string name_of(const Request& request) {
  return "request " + std::to_string(request.id);
}

}  // namespace

void Scheduler::State::make_room(double budget_ms) {
  room.rows = std::max(options.max_rows, queue.most_rows());
  room.tokens = std::max({options.max_tokens, queue.largest_whole(), queue.most_rows()});
  room.bytes = std::numeric_limits<std::int64_t>::max();
  room.page_tokens = 0;
  room.pages.assign(1, kEndless);
  for (const std::shared_ptr<Cache>& pool : queue.pools()) {
    room.pages.push_back(pool->free_bytes() / pool->layout().page_unit());
    room.bytes = std::min(room.bytes, pool->free_bytes());
    const std::int64_t page_tokens = pool->layout().page_tokens();
    room.page_tokens =
        room.page_tokens == 0 ? page_tokens : std::min(room.page_tokens, page_tokens);
  }
  if (room.page_tokens == 0) room.page_tokens = 2 * kernels::kKvBlock;
  room.budget_ms = std::max(0.0, budget_ms);
  room.now_ms = queue.milliseconds(now());
  room.step = stats.steps;
  room.more = more;
}

void Scheduler::State::bad_plan(const std::string& what) const {
  throw Error(ErrorCode::policy, "policy " + policy->name(), what);
}

/// The policy's answer, in `answer`.
void Scheduler::State::ask() {
  answer.clear();
  const std::shared_ptr<Policy> asked = policy;  // it may be replaced while it plans
  try {
    asked->plan_into(queue.view(), room, answer);
  } catch (const Error& error) {
    const bool own = error.code() == ErrorCode::policy;
    if (own || error.code() == ErrorCode::cancelled || error.code() == ErrorCode::memory) throw;
    bad_plan(error.what());
  } catch (const std::bad_alloc&) {
    throw;  // nobody's fault
  } catch (const std::exception& error) {
    bad_plan(error.what());
  }
}

/// Throws for an answer that names what is not there or takes more than the room holds.
void Scheduler::State::check(const StepPlan& plan) {
  ++checks;
  const auto known = [&](std::uint64_t id, const char* list) {
    RequestPointer request = queue.find(id);
    const auto name = [&] { return "request " + std::to_string(id); };
    if (!request) bad_plan(std::string(list) + name() + ", which is not in the queue");
    if (request->progress.named == checks) bad_plan("the plan lists " + name() + " twice");
    request->progress.named = checks;
    return request;
  };
  std::int64_t tokens = 0, rows = 0;
  for (const PlannedRow& row : plan.rows) {
    const RequestPointer request = known(row.request, "the plan lists ");
    const std::int64_t pending = request->pending_tokens();
    if (row.tokens < 0 || row.tokens > pending) {
      bad_plan(name_of(*request) + " is planned with " + number(row.tokens) + " tokens and has " +
               number(pending) + " pending");
    }
    if (row.tokens == 0) continue;
    if (request->whole() && row.tokens != pending) {
      bad_plan(name_of(*request) + " is planned with " + number(row.tokens) + " of its " +
               number(pending) + " tokens; a " +
               (request->spec.source ? "source" : "forward request") + " cannot be chunked");
    }
    tokens += total_tokens(*request, row.tokens);
    rows += request->rows();
  }
  if (tokens > room.tokens) {
    bad_plan("the plan has " + number(tokens) + " tokens, the room " + number(room.tokens));
  }
  if (rows > room.rows) {
    bad_plan("the plan has " + number(rows) + " rows, the room " + number(room.rows));
  }
  for (std::uint64_t id : plan.drop) known(id, "drop lists ");
  for (std::uint64_t id : plan.preempt) known(id, "preempt lists ");
  if (!(plan.wait_ms >= 0)) bad_plan("wait_ms is " + number_text(plan.wait_ms, 6));
}

bool Scheduler::State::schedule_source(const RequestPointer& request) {
  const std::array<std::size_t, 2> leaders = request->leaders();
  for (const std::size_t index : leaders) {
    if (index == Request::kNoSequence) continue;
    const Sequence& sequence = request->sequences[index];
    if (sequence.cache->reserve_cross(request->encoded_tokens_of(sequence))) continue;
    for (Sequence& other : request->sequences) other.cache->rollback();
    return false;
  }
  const RequestPointer writer = request->spec.hooks.write_pass ? request : nullptr;
  ScheduledGroup& group = work.group(request->spec.encode_plan, PassKind::encode, false, writer);
  for (const std::size_t index : leaders) {
    if (index == Request::kNoSequence) continue;
    ScheduledRow row;
    row.request = request;
    row.sequence = index;
    row.tokens = request->source_of(request->sequences[index])->tokens();
    group.rows.push_back(std::move(row));
  }
  return true;
}

/// Room for the next `tokens` of each sequence that runs, or for none.
bool Scheduler::State::reserve_rows(Request& request, std::int64_t tokens) {
  for (Sequence& sequence : request.sequences) {
    const std::int64_t own = std::min(tokens, sequence.pending());
    if (own == 0 || !sequence.cache) continue;
    if (sequence.cache->reserve(own)) {
      sequence.make_room_for(own);
      continue;
    }
    for (Sequence& other : request.sequences) {
      if (other.cache) other.cache->rollback();
    }
    return false;
  }
  return true;
}

bool Scheduler::State::schedule_rows(const RequestPointer& request, std::int64_t tokens,
                                     bool padded) {
  const bool attached = attach_prefix(*request);
  bool fits = reserve_rows(*request, tokens);
  if (!fits && attached) {  // begun pages that are shared take a page more while they are copied
    detach_prefix(*request);
    fits = reserve_rows(*request, tokens);
  }
  if (!fits) return false;
  const bool forward = request->spec.kind == RequestKind::forward;
  ScheduledGroup& group =
      work.group(request->spec.plan, forward ? PassKind::forward : PassKind::generate, padded,
                 request->spec.hooks.write_pass ? request : nullptr);
  if (request->spec.contrastive.on()) group.look_into(request->spec.contrastive);
  for (std::size_t s = 0; s < request->sequences.size(); ++s) {
    const Sequence& sequence = request->sequences[s];
    const std::int64_t own = std::min(tokens, sequence.pending());
    if (own == 0) continue;
    ScheduledRow row;
    row.request = request;
    row.sequence = s;
    row.first = sequence.computed;
    row.tokens = own;
    group.rows.push_back(std::move(row));
  }
  return true;
}

/// Takes back what schedule() had done of a request when it failed.
void Scheduler::State::unschedule(const Request& request) {
  work.drop(request);
  for (const Sequence& sequence : request.sequences) {
    if (sequence.cache) sequence.cache->rollback();
  }
}

/// Reserves and appends the rows of one request; false, and nothing changed, where the device has
/// no memory for pages that the pool's budget allows. A device that has failed ends the request.
bool Scheduler::State::schedule(const RequestPointer& request, std::int64_t tokens, bool padded) {
  bool fits = false;
  try {
    fits = request->needs_encoding() ? schedule_source(request)
                                     : schedule_rows(request, tokens, padded);
  } catch (const Error& error) {
    unschedule(*request);
    fail(request, error.what(), error.code());
  } catch (...) {
    unschedule(*request);
    throw;
  }
  if (!fits) return false;
  const double ran = now();
  if (request->progress.times.first_run == 0) request->progress.times.first_run = ran;
  request->progress.times.last_run = ran;
  queue.ran(*request, stats.steps + 1);
  if (request->progress.state == RequestState::waiting)
    request->progress.state = RequestState::prefill;
  return true;
}

/// A request that holds all of its pool and cannot get its next page has reached its context; one
/// that never got as far as a token has failed.
void Scheduler::State::exhaust(const RequestPointer& request) {
  const Cache& pool = *pool_of(*request);
  if (request->spec.kind == RequestKind::generate &&
      request->new_tokens() + request->computed() > 0) {
    return finish(request, FinishReason::context);
  }
  fail(request,
       "step: keys and values take " + number(bytes_to_start(*request)) + " bytes, " +
           pool.free_text(),
       ErrorCode::memory);
}

/// Makes `work` of a decided plan. False where the device had no memory for some of it, or failed.
bool Scheduler::State::apply(const StepPlan& plan) {
  for (std::size_t i = 0; i < plan.drop.size(); ++i) {
    const RequestPointer request = queue.find(plan.drop[i]);
    if (i < plan.why.size()) request->progress.why = plan.why[i];
    finish(request, FinishReason::cancelled);
  }
  const auto give_back = [&](Request& request) {
    preempt(request);
    queue.changed(request);
  };
  for (std::uint64_t id : plan.preempt) give_back(*queue.find(id));
  for (std::uint64_t id : plan.exhausted) exhaust(queue.find(id));
  const bool padded = plan.padded || (dry && dry->cost.padded);
  RequestPointer without;  // memory
  bool all = true;
  for (const PlannedRow& row : plan.rows) {
    const RequestPointer request = queue.find(row.request);
    if (schedule(request, row.tokens, padded)) continue;
    all = false;
    if (!without && !request->done()) without = request;
  }
  if (!without || !work.empty()) return all;
  const auto& running = queue.running();
  const auto holder = std::find_if(running.rbegin(), running.rend(), [&](const Request* other) {
    return other != without.get() && !other->done() && holds_pages(*other);
  });
  if (holder != running.rend()) {
    give_back(**holder);
  } else {
    fail(without, "step: the device has no memory for keys and values", ErrorCode::memory);
  }
  return false;
}

bool Scheduler::State::nothing_planned(const StepPlan& plan) {
  sweep();
  result.idle = true;
  result.wait_ms = plan.wait_ms;
  if (queue.empty()) return false;
  const bool changed = !plan.drop.empty() || !plan.preempt.empty();
  ++empty_plans;
  if (more || plan.wait_ms > 0 || (changed && empty_plans < kPatience)) return false;
  bad_plan("the policy never runs request " + std::to_string(queue.view()[0].id) +
           ": it planned nothing, nothing is running and nothing more will come");
}

/// Asks the policy and fills `work`. False when there is nothing to run.
bool Scheduler::State::plan_step(double budget_ms) {
  int stalls = 0;
  for (;;) {
    sweep();
    if (queue.empty()) {
      result.idle = true;
      return false;
    }
    make_room(budget_ms);
    ask();
    check(answer);
    if (!answer.rows.empty()) empty_plans = 0;
    // A policy that lists one of many may come to one that can go on: else two that each need all
    // of the pool could take it from one another for ever.
    const bool last_try = stalls >= kPatience;
    const StepPlan& plan = decision.make(answer, room, last_try);
    const bool given = apply(plan);
    if (!work.empty()) {
      empty_plans = 0;
      return true;
    }
    if (decision.stalled() && !last_try) {
      ++stalls;
      continue;
    }
    if (given && plan.exhausted.empty()) return nothing_planned(plan);
  }
}

}  // namespace perilune
