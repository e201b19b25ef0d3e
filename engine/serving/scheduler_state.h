// What a Scheduler holds. Private to this room.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/error.h"
#include "engine/serving/decide.h"
#include "engine/serving/device_choice.h"
#include "engine/serving/inbox.h"
#include "engine/serving/outbox.h"
#include "engine/serving/queue.h"
#include "engine/serving/scheduler.h"
#include "engine/serving/step_work.h"

namespace perilune {

struct Scheduler::State {
  State(std::shared_ptr<Context> its_context, std::shared_ptr<Policy> its_policy,
        SchedulerOptions its_options);

  std::shared_ptr<Context> context;
  std::shared_ptr<Policy> policy;
  SchedulerOptions options;
  std::optional<DryClock> dry;
  /// clock_seconds(), or a dry run's own time.
  double now() const;

  Inbox inbox;
  std::shared_ptr<Outbox> outbox;
  Inbox::Contents arrived;   // reused
  std::size_t absorbed = 0;  // of arrived.requests
  Queue queue;
  std::deque<RequestPointer> untold;     // the policy has not heard of them
  std::vector<Request*> ended;           // still in `queue`
  std::mutex told_mutex;                 // finished, published
  std::vector<RequestPointer> finished;  // for take_finished
  SchedulerStats published;
  std::atomic<bool> working{false}, more{false};

  std::uint64_t policy_number = 1, policy_told = 1;  // of `policy`, for Request::told
  StepPlan answer;                                   // of the policy
  Decision decision{queue};
  Room room;  // of the step under way
  ExecutionStore executions;
  StepWork work{executions};
  PassWork pass_work;  // reused, as the next two are
  std::vector<BatchMaker::Row> batch_rows;
  std::vector<std::int32_t> filler_ids;
  std::map<const Cache*, std::shared_ptr<Cache>> filler_caches;
  Tensor logits_row;                      // reused copy
  DeviceChoice device_choice;             // of the pass' rows of logits
  std::vector<std::int32_t> guessed_ids;  // reused, as the next one is
  std::vector<std::uint32_t> allowed_ids;
  SchedulerStats stats;
  bool stepping = false;
  int empty_plans = 0;               // in a row
  std::uint64_t checks = 0;          // plans that were checked, for Request::named
  StepResult result;                 // of the call under way
  std::unique_ptr<StepTimes> times;  // null: not kept
  void enter(StepPart part) {
    if (times) times->enter(part);
  }

  // step.cpp
  void absorb();
  void announce();
  void announce(Request& request);
  void cancel_arrived();
  void sweep();
  bool advance(double deadline, double budget_ms);
  void emit(const RequestPointer& request, Event event);
  void publish();
  void warn_starving();

  // apply.cpp: from a policy's answer to work
  void make_room(double budget_ms);
  bool plan_step(double budget_ms);
  void ask();
  void check(const StepPlan& plan);
  bool schedule(const RequestPointer& request, std::int64_t tokens, bool padded);
  void unschedule(const Request& request);
  bool schedule_source(const RequestPointer& request);
  bool reserve_rows(Request& request, std::int64_t tokens);
  bool schedule_rows(const RequestPointer& request, std::int64_t tokens, bool padded);
  bool apply(const StepPlan& plan);
  void exhaust(const RequestPointer& request);
  bool nothing_planned(const StepPlan& plan);
  [[noreturn]] void bad_plan(const std::string& what) const;

  // pass_group.cpp: one group's pass
  void start(ScheduledGroup& group);
  std::shared_ptr<const Batch> next_batch(ScheduledGroup& group,
                                          const std::vector<std::int64_t>& fillers);
  std::shared_ptr<const Batch> join_inputs(const ScheduledGroup& group,
                                           const std::vector<std::int64_t>& fillers) const;
  void settle(Request& request);
  void add_caches(ScheduledGroup& group, const std::vector<std::int64_t>& fillers);
  void read_results(ScheduledGroup& group);
  bool run_group(double deadline);
  void run_dry(ScheduledGroup& group);
  void split_failed(std::string_view text, ErrorCode code);
  void abandon();
  void drop_row(const ScheduledRow& row);
  void rollback_all();
  bool in_flight(const Request& request) const;

  // collect.cpp: after the commit, row by row
  void complete(ScheduledGroup& group);
  void complete_rows(ScheduledGroup& group);
  void sample_row(const ScheduledRow& row, const ScheduledGroup& group, std::int64_t first);
  void collect(const ScheduledRow& row, std::size_t index, const ScheduledGroup& group);
  void score_prompt(const ScheduledRow& row, std::span<const std::int64_t> wanted,
                    const Tensor& logits, std::int64_t first);
  std::span<float> logits_at(const Tensor& logits, std::int64_t at, bool own_copy);
  void choose(const RequestPointer& request, std::size_t index, const Tensor& logits,
              std::int64_t at);
  void take_sampled(const RequestPointer& request, std::size_t index, Sampled& sampled,
                    bool from_model);
  SamplingState sampling_state(const Request& request, std::size_t index) const;
  bool check_sampled(const RequestPointer& request, const Sampled& sampled, bool from_model,
                     std::int64_t position);
  bool changes_rows(const Request& request) const;
  std::span<float> own_row(std::span<const float> row);
  void choose_scores(const RequestPointer& request, std::size_t index, std::span<float> scores);
  std::span<float> process(const Request& request, std::size_t index, std::span<float> scores);
  void accept(const RequestPointer& request, std::size_t index, std::span<const std::int32_t> ids);
  void accept_one(const RequestPointer& request, std::size_t index, std::int32_t id);
  void release_text(const RequestPointer& request, Sequence& sequence, std::int32_t id);

  // drafts.cpp: guesses of what comes next, and their check
  struct Guessing;
  ExecutionStore draft_executions;
  BatchMaker draft_batches;
  void guess(const ScheduledGroup& group);
  void share_guesses(Request& request);
  void guess_by_model(std::vector<Guessing>& together);
  void catch_up(const Guessing& one);
  bool run_guesses(std::span<Guessing> rows, Tensor& logits);
  bool take_guess(const Guessing& one, const Tensor& row);
  void choose_ahead(const ScheduledRow& row, const Tensor& logits, std::int64_t first);

  // outputs.cpp
  void split_outputs(Request& request);

  // companion_rows.cpp: answers that are chosen when other sequences are computed, too
  void hold(const ScheduledRow& row, const ScheduledGroup& group, std::int64_t first);
  void look_at(const ScheduledRow& row, const ScheduledGroup& group) const;
  void advance_compared(const RequestPointer& request);
  void choose_guided(const RequestPointer& request);
  bool take_guided(const RequestPointer& request, std::size_t index);
  void guided(Request& request, std::size_t index, std::span<float> scores) const;
  void try_candidates(const RequestPointer& request);
  void find_candidates(const RequestPointer& request);
  void take_candidate(const RequestPointer& request);
  void take_id(const RequestPointer& request, std::int32_t id);

  // finish.cpp
  void finish(const RequestPointer& request, FinishReason reason);
  void fail(const RequestPointer& request, std::string_view text, ErrorCode code);
  void tell_end(const RequestPointer& request, FinishReason reason);

  // greedy.cpp: choices that need no copy of a row of logits
  bool chooses_best(const Request& request) const;
  bool take_best(const RequestPointer& request, std::size_t index, const Tensor& logits,
                 std::int64_t at);

  // choices.cpp: tokens chosen on the device of their logits
  bool choose_on_device(const ScheduledGroup& group, const Tensor& logits);
  bool chooses_on_device(const ScheduledRow& row) const;
  bool try_device(const ScheduledRow& row, std::int64_t last, std::size_t width);
  void ask_device(const ScheduledRow& row, std::int64_t last, std::size_t width);
  bool take_chosen(const RequestPointer& request, std::size_t index, std::int64_t at);

  // beams.cpp
  class BeamJudge;
  void offer_beam(const RequestPointer& request, std::size_t index, std::span<float> row);
  std::span<const float> beam_scores(const RequestPointer& request, std::size_t index,
                                     std::span<float> scores, std::span<const std::int32_t> chosen);
  void advance_search(const RequestPointer& request);
  void advance_beams(const RequestPointer& request);
  void settle_beams(Request& request, FinishReason reason) const;
};

/// What a request fails with where memory ran out inside a step.
inline constexpr std::string_view kOutOfMemory = "step: out of memory: the system has none left";

/// Hands text and code of the exception that is being handled to `told`.
template <class Told>
void tell_failure(Told told) {
  try {
    throw;
  } catch (const Error& error) {
    told(std::string_view(error.what()), error.code());
  } catch (const std::bad_alloc&) {
    told(kOutOfMemory, ErrorCode::memory);
  } catch (const std::exception& error) {
    told(std::string_view(error.what()), ErrorCode::internal);
  }
}

/// Whether a row's last token is the sequence's last, so that its logits give the next id.
bool chooses(const ScheduledRow& row, const ScheduledGroup& group);
/// Positions that a group's pass computes: its tokens, or of a padded one its rows times its
/// longest.
std::int64_t computed_positions(const ScheduledGroup& group);
/// A row's last processor may not have changed its shape.
void check_processed(const Tensor& row, std::int64_t size);
/// Why a sequence of `length` ids cannot go on; none: it can.
FinishReason limit_reached(const Request& request, std::int64_t length);

/// Where the context is full: spec.slide_keep first ids stay, the older half of the rest goes, and
/// what is left is computed again, as of a text of its own.
void slide(Request& request, Sequence& sequence);
/// Drops keys and values of guesses: those of all ids but the newest stay.
void drop_guesses(Sequence& sequence);

/// Takes the rest of a sequence's text out of its decoder and stop matcher. May find a stop string.
std::string flush_text(Sequence& sequence);

}  // namespace perilune
