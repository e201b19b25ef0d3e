// From a policy's answer to the work of one step.
#include <algorithm>
#include <limits>
#include <set>

#include "engine/base/error.h"
#include "engine/device/context.h"
#include "engine/serving/scheduler_state.h"

namespace perilune {

namespace {

std::string number(std::int64_t value) {
  return std::to_string(value);
}

std::int64_t pending_of(const Sequence& sequence) {
  return sequence.finished ? 0 : static_cast<std::int64_t>(sequence.ids.size()) - sequence.computed;
}

const Cache* cache_of(const Request& request) {
  for (const Sequence& sequence : request.sequences) {
    if (sequence.cache) return sequence.cache->cache().get();
  }
  return nullptr;
}

bool holds_pages(const Request& request) {
  return std::any_of(request.sequences.begin(), request.sequences.end(),
                     [](const Sequence& s) { return s.cache && s.cache->length() > 0; });
}

}  // namespace

std::int64_t total_tokens(const Request& request, std::int64_t tokens) {
  if (request.needs_encoding()) return std::min(tokens, request.source_tokens());
  std::int64_t total = 0;
  for (const Sequence& sequence : request.sequences)
    total += std::min(tokens, pending_of(sequence));
  return total;
}

std::int64_t total_pages(const Request& request, std::int64_t tokens) {
  if (request.needs_encoding()) return 0;  // the source's keys have pages of their own kind
  std::int64_t pages = 0;
  for (const Sequence& sequence : request.sequences) {
    if (!sequence.cache || sequence.finished) continue;
    pages += sequence.cache->pages_needed(std::min(tokens, pending_of(sequence)));
  }
  return pages;
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
  out.rows = request.unfinished();
  out.client = request.client;
  out.tag = request.tag;
  return out;
}

Room Scheduler::State::make_room(double budget_ms) const {
  Room room;
  room.tokens = options.max_tokens;
  room.rows = options.max_rows;
  room.pages = std::numeric_limits<std::int32_t>::max();
  room.page_tokens = 0;
  room.bytes = std::numeric_limits<std::int64_t>::max();
  for (const RequestPointer& request : live) {
    if (request->done()) continue;
    if (request->whole()) {  // one chunk
      room.tokens = std::max(room.tokens, request->pending_tokens());
    }
    room.rows = std::max(room.rows, request->unfinished());
    if (const Cache* cache = cache_of(*request)) {
      room.pages = std::min(room.pages, cache->free_pages());
      room.bytes = std::min(room.bytes, cache->free_bytes());
      const std::int64_t page_tokens = cache->layout().page_tokens();
      room.page_tokens =
          room.page_tokens == 0 ? page_tokens : std::min(room.page_tokens, page_tokens);
    }
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
  try {
    return policy->plan(queue, room);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::policy || error.code() == ErrorCode::cancelled) throw;
    bad_plan(error.what());
  } catch (const std::exception& error) {
    bad_plan(error.what());
  }
}

/// Throws for a plan that names what is not there or takes more than the room holds.
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
    rows += request->unfinished();
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
  check_pages(plan);
}

void Scheduler::State::check_pages(const StepPlan& plan) const {
  std::map<const Cache*, std::int64_t> needed;
  for (const PlannedRow& row : plan.rows) {
    const RequestPointer request = find(row.request);
    if (const Cache* cache = cache_of(*request)) needed[cache] += total_pages(*request, row.tokens);
  }
  for (const auto& [cache, pages] : needed) {
    std::vector<const SequenceCache*> cleared;
    for (const auto* list : {&plan.drop, &plan.preempt}) {
      for (std::uint64_t id : *list) {
        for (const Sequence& sequence : find(id)->sequences) {
          if (sequence.cache && sequence.cache->cache().get() == cache) {
            cleared.push_back(sequence.cache.get());
          }
        }
      }
    }
    const std::int64_t free = cache->free_pages() + SequenceCache::pages_released(cleared);
    if (pages > free) {
      bad_plan("the plan needs " + number(pages) + " pages of keys and values, " + number(free) +
               " are free");
    }
  }
}

void Scheduler::State::preempt(Request& request) {
  for (Sequence& sequence : request.sequences) {
    if (sequence.cache && request.encoded) sequence.cache->crop(0);  // the source stays encoded
    if (sequence.cache && !request.encoded) sequence.cache->clear();
    sequence.computed = 0;
  }
  request.state = RequestState::waiting;
}

void Scheduler::State::apply(const StepPlan& plan) {
  for (std::uint64_t id : plan.drop) finish(find(id), FinishReason::cancelled);
  for (std::uint64_t id : plan.preempt) preempt(*find(id));
}

/// How many tokens for each sequence fit into what is left of the room; 0: it waits.
std::int64_t Scheduler::State::fitting_tokens(const Request& request, const Room& left) const {
  const std::int64_t rows = request.unfinished(), pending = request.pending_tokens();
  if (rows == 0 || rows > left.rows) return 0;
  std::int64_t tokens = std::min(pending, left.tokens / rows);
  if (const Cache* cache = cache_of(request)) {
    // Back to the last position of the page before, until the pages are there.
    const std::int64_t page_tokens = cache->layout().page_tokens();
    const std::int64_t computed = request.computed();
    while (tokens > 0 && total_pages(request, tokens) > cache->free_pages()) {
      tokens = std::max<std::int64_t>(0, tokens - ((computed + tokens - 1) % page_tokens + 1));
    }
  }
  return request.whole() && tokens < pending ? 0 : tokens;
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
  if (!request->sequences[0].cache->reserve_cross(request->source_tokens())) return false;
  ScheduledRow row;
  row.request = request;
  row.tokens = request->source_tokens();
  group_for(request->encode_plan, PassKind::encode, false).rows.push_back(std::move(row));
  return true;
}

bool Scheduler::State::schedule_rows(const RequestPointer& request, std::int64_t tokens,
                                     bool padded) {
  for (std::size_t s = 0; s < request->sequences.size(); ++s) {
    Sequence& sequence = request->sequences[s];
    const std::int64_t own = std::min(tokens, pending_of(sequence));
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
    const std::int64_t own = std::min(tokens, pending_of(sequence));
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

/// Reserves and appends the rows of one request; false, and nothing changed, without memory.
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

/// Makes `work` of a checked plan. False when rows had to wait for pages.
bool Scheduler::State::fill(const StepPlan& plan, const Room& room) {
  bool enough = true;
  Room left = room;
  for (const PlannedRow& row : plan.rows) {
    if (row.tokens == 0) continue;
    const RequestPointer request = find(row.request);
    left.tokens -= total_tokens(*request, row.tokens);
    left.rows -= request->unfinished();
  }
  for (const bool exact : {true, false}) {  // numbers first: they were promised
    for (const PlannedRow& row : plan.rows) {
      if ((row.tokens > 0) != exact) continue;
      const RequestPointer request = find(row.request);
      const std::int64_t tokens = exact ? row.tokens : fitting_tokens(*request, left);
      if (tokens == 0 || !schedule(request, tokens, plan.padded)) {
        const Cache* cache = cache_of(*request);
        if (tokens > 0 || (cache && total_pages(*request, 1) > cache->free_pages())) enough = false;
        continue;
      }
      if (exact) continue;
      left.tokens -= total_tokens(*request, tokens);
      left.rows -= request->unfinished();
    }
  }
  if (!work.empty()) order_rows(plan);
  return enough;
}

void Scheduler::State::order_rows(const StepPlan& plan) {
  for (const RequestPointer& request : live) {
    if (!request->done()) ++request->waited_steps;
  }
  std::map<std::uint64_t, std::size_t> order;
  for (std::size_t i = 0; i < plan.rows.size(); ++i) order[plan.rows[i].request] = i;
  for (ScheduledGroup& group : work) {
    std::stable_sort(group.rows.begin(), group.rows.end(),
                     [&](const ScheduledRow& a, const ScheduledRow& b) {
                       return order[a.request->id] < order[b.request->id];
                     });
  }
}

/// A request that alone holds pages and cannot get its next has reached its context.
void Scheduler::State::end_stuck() {
  std::map<const Cache*, std::vector<RequestPointer>> holders;
  for (const RequestPointer& request : live) {
    if (!request->done() && holds_pages(*request)) holders[cache_of(*request)].push_back(request);
  }
  for (const auto& [cache, requests] : holders) {
    if (requests.size() != 1 || total_pages(*requests[0], 1) <= cache->free_pages()) continue;
    // Only what requests of this engine hold can come back.
    finish(requests[0], FinishReason::context);
  }
}

/// Gives back the pages of the request that came last of several that hold some.
bool Scheduler::State::preempt_youngest() {
  std::vector<RequestPointer> holders;
  for (const RequestPointer& request : live) {
    if (!request->done() && holds_pages(*request)) holders.push_back(request);
  }
  if (holders.size() < 2) return false;
  preempt(*holders.back());
  return true;
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
    end_stuck();  // again when a preemption has left one holder alone
    sweep();
    if (live.empty()) {
      result.idle = true;
      return false;
    }
    const Room room = make_room(budget_ms);
    const StepPlan plan = ask(room);
    check(plan, room);
    apply(plan);
    const bool enough = fill(plan, room);
    if (!work.empty()) {
      empty_plans = 0;
      return true;
    }
    if (enough || plan.rows.empty() || !preempt_youngest()) return nothing_planned(plan);
  }
}

}  // namespace perilune
