// The loop that serves one prompt, a list, or many clients: ask the policy, reserve, run, commit,
// sample, call back. A bad plan changes nothing.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/serving/request.h"

namespace perilune {

/// Plain data of one request, as a policy sees it. `waited_*` count from when it last ran, or from
/// its submission. `deadline_ms` is on the clock of Room::now_ms; 0: none.
struct QueueEntry {
  std::uint64_t id = 0;
  RequestKind kind = RequestKind::generate;
  RequestState state = RequestState::waiting;
  std::int64_t prompt_tokens = 0, cached_tokens = 0, pending_tokens = 0, new_tokens = 0,
               max_new_tokens = 0;
  std::int64_t waited_steps = 0;
  double waited_ms = 0, deadline_ms = 0;
  std::int64_t priority = 0;
  std::int64_t rows = 1;  // rows it takes in a step (sequences not finished)
  std::string client, tag;
};

/// What one step may hold. `pages` count page_tokens positions of a sequence each, over what is
/// free in the fullest cache; `now_ms` counts from the making of the scheduler.
struct Room {
  std::int64_t tokens = 0, rows = 0, pages = 0, page_tokens = 0, bytes = 0;
  double budget_ms = 0, now_ms = 0;
  std::int64_t step = 0;
  bool more = false;
};

/// Who runs with how many tokens. 0: all that is pending and fits what the rows before it left of
/// the room; it waits when nothing does. A number is taken at its word, and is a bad plan when it
/// does not fit. Each unfinished sequence of the request gets up to that many.
struct PlannedRow {
  std::uint64_t request = 0;
  std::int64_t tokens = 0;
};

/// A step is plain data that can be written down and sent to other ranks.
struct StepPlan {
  std::vector<PlannedRow> rows;
  bool padded = false;                 // layout="padded": filler rows on a null page, dropped
  std::vector<std::uint64_t> drop;     // cancelled
  std::vector<std::uint64_t> preempt;  // keys and values given back, recomputed later
  double wait_ms = 0;
};

class Policy {
 public:
  virtual ~Policy() = default;
  virtual StepPlan plan(const std::vector<QueueEntry>& queue, const Room& room) = 0;
  virtual void submitted(const QueueEntry&) {}
  virtual void finished(const QueueEntry&) {}
  virtual std::string name() const = 0;
};

struct SchedulerOptions {
  std::int64_t max_tokens = 512;  // of one step
  std::int64_t max_rows = 64;
  bool keep_all_events = true;  // for engine:events()
};

struct StepResult {
  std::int64_t tokens = 0, rows = 0;
  double ms = 0;
  bool idle = false;     // nothing to do
  bool pending = false;  // stopped inside a pass
  double wait_ms = 0;    // the policy wants to be asked again after this long; with idle only
};

struct SchedulerStats {
  std::int64_t steps = 0, tokens = 0, rows = 0, finished = 0, waiting = 0, running = 0;
  double busy_ms = 0;
  std::int64_t cache_bytes = 0;
};

class Scheduler {
 public:
  Scheduler(std::shared_ptr<Context> context, std::shared_ptr<Policy> policy,
            SchedulerOptions options);
  ~Scheduler();

  /// Takes a request whose prompt (sequences[0].ids, or forward_input), plan, options and tokenizer
  /// are set; makes its sequences' caches in `cache` (null for passes without one). Throws for
  /// options out of range and for prompts that cannot run (too long, more than the cache holds).
  /// Any thread.
  RequestPointer submit(RequestPointer request, std::shared_ptr<Cache> cache);
  /// Runs passes until the budget is spent or nothing is runnable; without a budget (<= 0) one
  /// pass. Throws Error(policy) for a bad plan (with the policy's own error text) and leaves
  /// everything as it was; other failures end the requests they belong to.
  StepResult step(double budget_ms = 0);
  void set_policy(std::shared_ptr<Policy> policy);
  bool idle() const;
  void cancel(const RequestPointer& request);  // any thread; takes effect between two ops
  void cancel_all();
  /// Takes the oldest event that neither this nor a request's own `events` has delivered yet.
  bool next_event(Event& event);
  SchedulerStats stats() const;
  const std::vector<RequestPointer>& requests() const;  // not done
  void set_more(bool more);                             // further requests may still come

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace perilune
