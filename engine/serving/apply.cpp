// Asks the policy, and turns what was decided into the work of one step.
#include <algorithm>
#include <limits>
#include <set>

#include "engine/base/error.h"
#include "engine/device/context.h"
#include "engine/serving/decide.h"
#include "engine/serving/memory.h"
#include "engine/serving/scheduler_state.h"

namespace perilune {

namespace {

constexpr std::int64_t kEndless = std::numeric_limits<std::int32_t>::max();

std::string number(std::int64_t value) {
  return std::to_string(value);
}

}  // namespace

std::size_t Scheduler::State::pool_number(const Cache* cache) const {
  if (cache == nullptr) return 0;
  const auto found = std::find_if(pools.begin(), pools.end(),
                                  [&](const auto& pool) { return pool.get() == cache; });
  return static_cast<std::size_t>(found - pools.begin()) + 1;
}

QueueEntry Scheduler::State::entry(const Request& request) const {
  QueueEntry out;
  out.id = request.id;
  out.kind = request.whole() ? RequestKind::forward : RequestKind::generate;  // a source, too
  out.state = request.state;
  out.prompt_tokens = request.prompt_tokens + request.source_tokens();
  out.cached_tokens = request.computed() + (request.encoded ? request.source_tokens() : 0);
  out.pending_tokens = request.pending_tokens();
  out.new_tokens = request.new_tokens();
  out.max_new_tokens = request.options.max_new_tokens;
  out.waited_steps = request.waited_steps;
  const double since = std::max(request.times.submitted, request.times.last_run);
  out.waited_ms = (clock_seconds() - since) * 1e3;
  if (request.deadline_ms > 0) {
    out.deadline_ms = milliseconds(request.times.submitted) + request.deadline_ms;
  }
  out.priority = request.priority;
  out.rows = request.rows();
  if (const Cache* cache = pool_of(request)) {
    const std::int64_t unit = cache->layout().page_unit();
    out.pages_needed = (bytes_needed(request, out.pending_tokens) + unit - 1) / unit;
    out.pool = pool_number(cache);
  }
  out.client = request.client;
  out.tag = request.tag;
  return out;
}

Room Scheduler::State::make_room(double budget_ms) const {
  Room room;
  room.tokens = options.max_tokens;
  room.rows = options.max_rows;
  room.bytes = std::numeric_limits<std::int64_t>::max();
  for (const RequestPointer& request : live) {
    if (request->done()) continue;
    if (request->whole()) {  // one chunk
      room.tokens = std::max(room.tokens, request->pending_tokens());
    }
    room.rows = std::max(room.rows, request->unfinished());
  }
  room.pages.push_back(kEndless);
  for (const std::shared_ptr<Cache>& pool : pools) {
    room.pages.push_back(pool->free_bytes() / pool->layout().page_unit());
    room.bytes = std::min(room.bytes, pool->free_bytes());
    const std::int64_t page_tokens = pool->layout().page_tokens();
    room.page_tokens =
        room.page_tokens == 0 ? page_tokens : std::min(room.page_tokens, page_tokens);
  }
  if (room.page_tokens == 0) room.page_tokens = 2 * kernels::kKvBlock;
  room.budget_ms = std::max(0.0, budget_ms);
  room.now_ms = milliseconds(clock_seconds());
  room.step = stats.steps;
  room.more = more;
  return room;
}

void Scheduler::State::bad_plan(const std::string& what) const {
  throw Error(ErrorCode::policy, "policy " + policy->name(), what);
}

RequestPointer Scheduler::State::find(std::uint64_t id) const {
  for (const RequestPointer& request : live) {
    if (request->id == id && !request->done()) return request;
  }
  return nullptr;
}

StepPlan Scheduler::State::ask(const Room& room) {
  std::vector<QueueEntry> queue;
  for (const RequestPointer& request : live) {
    if (!request->done()) queue.push_back(entry(*request));
  }
  std::vector<const QueueEntry*> all, decoding;
  for (const QueueEntry& entry : queue) {
    all.push_back(&entry);
    if (entry.state == RequestState::decode) decoding.push_back(&entry);
  }
  const std::shared_ptr<Policy> asked = policy;  // it may be replaced while it plans
  try {
    return asked->plan(QueueView(all, decoding), room);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::policy || error.code() == ErrorCode::cancelled) throw;
    bad_plan(error.what());
  } catch (const std::exception& error) {
    bad_plan(error.what());
  }
}

/// Throws for an answer that names what is not there or takes more than the room holds.
void Scheduler::State::check(const StepPlan& plan, const Room& room) const {
  std::set<std::uint64_t> named;
  const auto known = [&](std::uint64_t id, const std::string& list) {
    const RequestPointer request = find(id);
    const std::string name = "request " + std::to_string(id);
    if (!request) bad_plan(list + name + ", which is not in the queue");
    if (!named.insert(id).second) bad_plan("the plan lists " + name + " twice");
    return request;
  };
  std::int64_t tokens = 0, rows = 0;
  for (const PlannedRow& row : plan.rows) {
    const RequestPointer request = known(row.request, "the plan lists ");
    const std::string name = "request " + std::to_string(row.request);
    const std::int64_t pending = request->pending_tokens();
    if (row.tokens < 0 || row.tokens > pending) {
      bad_plan(name + " is planned with " + number(row.tokens) + " tokens and has " +
               number(pending) + " pending");
    }
    if (row.tokens == 0) continue;
    if (request->whole() && row.tokens != pending) {
      bad_plan(name + " is planned with " + number(row.tokens) + " of its " + number(pending) +
               " tokens; a " + (request->source ? "source" : "forward request") +
               " cannot be chunked");
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
  if (!(plan.wait_ms >= 0)) bad_plan("wait_ms is " + std::to_string(plan.wait_ms));
}

/// The group of `work` for a pass, made where there is none yet.
ScheduledGroup& Scheduler::State::group_for(const std::shared_ptr<const Plan>& plan, PassKind kind,
                                            bool padded) {
  for (ScheduledGroup& group : work) {
    if (group.plan == plan && group.kind == kind) return group;
  }
  ScheduledGroup& group = work.emplace_back();
  group.plan = plan;
  group.kind = kind;
  group.padded = padded;
  return group;
}

bool Scheduler::State::schedule_source(const RequestPointer& request) {
  ScheduledRow row;
  row.request = request;
  row.sequence = request->leader();
  row.tokens = request->source_tokens();
  if (!row.of().cache->reserve_cross(request->source_tokens())) return false;
  group_for(request->encode_plan, PassKind::encode, false).rows.push_back(std::move(row));
  return true;
}

bool Scheduler::State::schedule_rows(const RequestPointer& request, std::int64_t tokens,
                                     bool padded) {
  for (Sequence& sequence : request->sequences) {
    const std::int64_t own = std::min(tokens, sequence.pending());
    if (own == 0 || !sequence.cache || sequence.cache->reserve(own)) continue;
    for (Sequence& other : request->sequences) {
      if (other.cache) other.cache->rollback();
    }
    return false;
  }
  const bool forward = request->kind == RequestKind::forward;
  ScheduledGroup& group =
      group_for(request->plan, forward ? PassKind::forward : PassKind::generate, padded);
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

/// Reserves and appends the rows of one request; false, and nothing changed, where the device has
/// no memory for pages that the pool's budget allows.
bool Scheduler::State::schedule(const RequestPointer& request, std::int64_t tokens, bool padded) {
  const bool fits =
      request->needs_encoding() ? schedule_source(request) : schedule_rows(request, tokens, padded);
  if (!fits) return false;
  const double now = clock_seconds();
  if (request->times.first_run == 0) request->times.first_run = now;
  request->times.last_run = now;
  request->waited_steps = -1;  // counted up with the others when the step is complete
  if (request->state == RequestState::waiting) request->state = RequestState::prefill;
  return true;
}

/// A request that holds all of its pool and cannot get its next page has reached its context; one
/// that never got as far as a token has failed.
void Scheduler::State::exhaust(const RequestPointer& request) {
  const Cache& pool = *pool_of(*request);
  if (request->kind == RequestKind::generate && request->new_tokens() + request->computed() > 0) {
    return finish(request, FinishReason::context);
  }
  fail(request,
       "step: keys and values take " + number(bytes_to_start(*request)) + " bytes, " +
           number(pool.free_bytes()) + " of the cache's " + number(pool.budget()) + " are free",
       ErrorCode::memory);
}

/// Makes `work` of a decided plan. False where the device had no memory for any of it.
bool Scheduler::State::apply(const StepPlan& plan) {
  for (std::uint64_t id : plan.drop) finish(find(id), FinishReason::cancelled);
  for (std::uint64_t id : plan.preempt) preempt(*find(id));
  for (std::uint64_t id : plan.exhausted) exhaust(find(id));
  RequestPointer without;
  for (const PlannedRow& row : plan.rows) {
    const RequestPointer request = find(row.request);
    if (!schedule(request, row.tokens, plan.padded) && !without) without = request;
  }
  if (!work.empty()) {
    for (const RequestPointer& request : live) {
      if (!request->done()) ++request->waited_steps;
    }
  } else if (without) {
    const auto holder = std::find_if(live.rbegin(), live.rend(), [&](const RequestPointer& other) {
      return other != without && !other->done() && holds_pages(*other);
    });
    if (holder != live.rend()) {
      preempt(**holder);
    } else {
      fail(without, "step: the device has no memory for keys and values", ErrorCode::memory);
    }
  }
  return !without;
}

bool Scheduler::State::nothing_planned(const StepPlan& plan) {
  const auto first = std::find_if(live.begin(), live.end(),
                                  [](const RequestPointer& request) { return !request->done(); });
  result.idle = true;
  result.wait_ms = plan.wait_ms;
  if (first == live.end()) return false;
  const bool changed = !plan.drop.empty() || !plan.preempt.empty();
  ++empty_plans;
  if (more || plan.wait_ms > 0 || (changed && empty_plans < 3)) return false;
  bad_plan("the policy never runs request " + std::to_string((*first)->id) +
           ": it planned nothing, nothing is running and nothing more will come");
}

/// Asks the policy and fills `work`. False when there is nothing to run.
bool Scheduler::State::plan_step(double budget_ms) {
  for (;;) {
    sweep();
    if (live.empty()) {
      result.idle = true;
      return false;
    }
    const Room room = make_room(budget_ms);
    const StepPlan answer = ask(room);
    check(answer, room);
    const StepPlan plan =
        Decision([this](std::uint64_t id) { return find(id).get(); }, live, room).make(answer);
    const bool given = apply(plan);
    if (!work.empty()) {
      empty_plans = 0;
      return true;
    }
    if (given && plan.exhausted.empty()) return nothing_planned(plan);
  }
}

}  // namespace perilune
