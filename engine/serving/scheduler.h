// The loop that serves one prompt, a list, or many clients: ask the policy, reserve, run, commit,
// sample, call back. A bad plan changes nothing.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/serving/policy.h"

namespace perilune {

struct SchedulerOptions {
  std::int64_t max_tokens = 512;  // of one step
  std::int64_t max_rows = 64;
  bool keep_all_events = true;  // for engine:events()
};

struct StepResult {
  std::int64_t tokens = 0, rows = 0;
  std::int64_t positions = 0;  // computed: tokens, and what filled up rows of a padded step
  double ms = 0;
  bool idle = false;     // nothing to do
  bool pending = false;  // stopped inside a pass
  double wait_ms = 0;    // the policy wants to be asked again after this long; with idle only
};

struct SchedulerStats {
  std::int64_t steps = 0, tokens = 0, positions = 0, rows = 0, finished = 0, waiting = 0,
               running = 0;
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
