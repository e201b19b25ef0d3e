// The loop that serves one prompt, a list, or many clients: ask the policy, reserve, run, commit,
// sample, call back. A bad plan changes nothing.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/serving/dry_run.h"
#include "engine/serving/policy.h"
#include "engine/serving/step_times.h"

namespace perilune {

struct SchedulerOptions {
  std::int64_t max_tokens = 512;  // of one step
  std::int64_t max_rows = 64;
  bool keep_all_events = true;  // for engine:events()
  std::optional<DryRun> dry;    // nothing is computed, every chosen token is id 0; see DryClock
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
  std::int64_t starved = 0;         // requests that waited kStarvedSteps steps while others ran
  std::int64_t device_choices = 0;  // tokens chosen on the device: no logits came to the host
  double busy_ms = 0;
  std::int64_t cache_bytes = 0;
};

/// A request that did not run for so many steps, while others did, is told of once: by a warning
/// among its events.
inline constexpr std::int64_t kStarvedSteps = 200;

/// Requests come in by an inbox, events leave by an outbox, and both may be used by any thread; all
/// else belongs to the one thread that steps. A request's result may be read by any thread once it
/// is done().
class Scheduler {
 public:
  Scheduler(std::shared_ptr<Context> context, std::shared_ptr<Policy> policy,
            SchedulerOptions options);
  ~Scheduler();

  /// Takes what is asked: prompt (or forward_input), plan, options and tokenizer are set; keys and
  /// values will lie in `cache` (null for passes without one). Throws for options out of range and
  /// for prompts that cannot run (too long, more than the cache holds). Any thread.
  RequestPointer submit(RequestSpec spec, const std::shared_ptr<Cache>& cache);
  /// Takes effect between two ops. Any thread.
  void cancel(const RequestPointer& request);
  void cancel_all();
  /// Nothing is left to do. Any thread.
  bool idle() const;
  /// Requests that are not done. Any thread.
  std::size_t open() const;
  /// Takes the oldest event that nobody took yet. Any thread.
  bool next_event(Event& event);
  bool next_event(RequestPointer& request, Event& event);
  /// As they were after the last step. Any thread.
  SchedulerStats stats() const;
  /// Whether further requests may still come, as policies are told. Any thread.
  void set_more(bool more);
  bool more() const;
  /// Until something comes in that a step would see, or so many seconds have passed (below 0: no
  /// limit); false: nothing came. For the thread that steps.
  bool wait(double seconds);
  /// Ends a wait. Any thread.
  void wake();
  /// From the next step on. Any thread.
  void post_policy(std::shared_ptr<Policy> policy);
  /// Requests that ended since the last call. Any thread.
  void take_finished(std::vector<RequestPointer>& into);

  /// Runs passes until the budget is spent or nothing is runnable; without a budget (<= 0) one
  /// pass. Throws Error(policy) for a bad plan (with the policy's own error text) and leaves
  /// everything as it was; other failures end the requests they belong to.
  StepResult step(double budget_ms = 0);
  /// Whether times() are kept: of steps of passes on the CPU. By the thread that steps.
  void keep_times(bool keep);
  /// Of the last step; null where they are not kept.
  const StepTimes* times() const;
  /// Time and last step of a dry run, for the thread that steps; null: it is none.
  DryClock* dry_clock();
  /// At once; also from inside a policy or a callback.
  void set_policy(std::shared_ptr<Policy> policy);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace perilune
