// One group's pass: bind, run, roll back.
#include <algorithm>
#include <limits>

#include "engine/base/error.h"
#include "engine/device/context.h"
#include "engine/serving/scheduler_state.h"

namespace perilune {

namespace {

constexpr double kCancelSeconds = 0.004;  // how often a running pass looks for cancelled rows
constexpr std::size_t kExecutions = 4;    // arenas that are kept

/// Offsets in the row whose logits are needed.
std::vector<std::int64_t> wanted_tokens(const ScheduledRow& row, const Plan& plan) {
  std::vector<std::int64_t> wanted;
  const auto all = [&] {
    for (std::int64_t t = 0; t < row.tokens; ++t) wanted.push_back(t);
  };
  const Request& request = *row.request;
  if (request.spec.kind == RequestKind::forward) {
    switch (request.spec.forward_input->row_selection()) {
      case RowSelection::all: all(); break;
      case RowSelection::last: wanted.push_back(row.tokens - 1); break;
      case RowSelection::listed: wanted = request.spec.forward_input->wanted()[0]; break;
      case RowSelection::automatic:
        if (plan.program().kv_slots.empty()) {
          all();
        } else {
          wanted.push_back(row.tokens - 1);
        }
    }
    return wanted;
  }
  if (request.spec.options.prompt_logprobs && row.sequence == 0) {
    const auto done = static_cast<std::int64_t>(row.of().prompt_logprobs.size());
    for (std::int64_t t = std::max<std::int64_t>(0, done - row.first); t < row.tokens; ++t) {
      if (row.first + t < request.spec.prompt_tokens - 1) wanted.push_back(t);
    }
  }
  if (row.chooses && (wanted.empty() || wanted.back() != row.tokens - 1)) {
    wanted.push_back(row.tokens - 1);
  }
  return wanted;
}

/// Row lengths that bring every row of a padded step to the longest.
std::vector<std::int64_t> filler_lengths(const ScheduledGroup& group) {
  std::vector<std::int64_t> lengths;
  if (!group.padded) return lengths;
  std::int64_t longest = 0;
  for (const ScheduledRow& row : group.rows) longest = std::max(longest, row.tokens);
  for (const ScheduledRow& row : group.rows) {
    if (row.tokens < longest) lengths.push_back(longest - row.tokens);
  }
  return lengths;
}

bool cancelled(const ScheduledGroup& group) {
  return std::all_of(group.rows.begin(), group.rows.end(), [](const ScheduledRow& row) {
    return row.request->done() || row.request->cancel_asked;
  });
}

}  // namespace

std::shared_ptr<const Batch> Scheduler::State::make_batch(
    const ScheduledGroup& group, const std::vector<std::int64_t>& fillers) const {
  if (group.kind == PassKind::cross) return group.source;
  std::vector<std::vector<std::int32_t>> filler_ids;
  for (std::int64_t length : fillers) filler_ids.emplace_back(static_cast<std::size_t>(length), 0);
  if (group.kind != PassKind::generate) {
    std::shared_ptr<const Batch> batch;
    for (const ScheduledRow& row : group.rows) {
      const Request& request = *row.request;
      const auto& input =
          group.kind == PassKind::encode ? request.spec.source : request.spec.forward_input;
      const auto one = input->with_rows(RowSelection::automatic);
      batch = batch ? batch->concat(*one) : one;
    }
    return fillers.empty() ? batch : batch->concat(*Batch::make(context, filler_ids));
  }
  std::vector<std::vector<std::int32_t>> ids;
  std::vector<SequenceFacts> facts;
  for (const ScheduledRow& row : group.rows) {
    const auto begin = row.of().ids.begin() + row.first;
    ids.emplace_back(begin, begin + row.tokens);
    SequenceFacts fact;
    fact.prompt_tokens = row.request->spec.prompt_tokens;
    fact.first_position = row.first;
    facts.push_back(fact);
  }
  ids.insert(ids.end(), filler_ids.begin(), filler_ids.end());
  facts.resize(ids.size());
  return Batch::make(context, ids)->with_facts(std::move(facts));
}

void Scheduler::State::set_caches(ScheduledGroup& group, PassBinding& binding) {
  if (group.plan->program().kv_slots.empty()) return;
  std::vector<SequenceCache*> caches;
  for (const ScheduledRow& row : group.rows) caches.push_back(row.of().cache.get());
  const std::shared_ptr<Cache> pool = group.rows[0].of().cache->cache();
  const auto first = static_cast<std::int64_t>(group.rows.size());
  for (std::int64_t r = first; r < binding.batch().size(); ++r) {
    // Filler rows have pages of their own, outside the pool that requests share.
    std::shared_ptr<Cache>& scratch = filler_caches[pool.get()];
    if (!scratch) {
      scratch = std::make_shared<Cache>(context, pool->device(), pool->layout(),
                                        std::numeric_limits<std::int64_t>::max() / 4);
    }
    group.fillers.push_back(std::make_unique<SequenceCache>(scratch));
    if (!group.fillers.back()->reserve(binding.batch().rows().length(r))) {
      throw Error(ErrorCode::memory, "step", "no memory for the filler rows of a padded step");
    }
    caches.push_back(group.fillers.back().get());
  }
  binding.set_caches(std::move(caches), &pool->layout());
}

void Scheduler::State::start(ScheduledGroup& group) {
  const std::vector<std::int64_t> fillers = filler_lengths(group);
  auto batch = make_batch(group, fillers);
  auto binding = std::make_shared<PassBinding>(context, batch);
  if (group.kind == PassKind::cross) binding->set_input("encoded", group.encoded, batch->rows());
  group.fillers.clear();
  set_caches(group, *binding);
  std::vector<std::int64_t> wanted, per_row;
  for (std::size_t r = 0; r < group.rows.size(); ++r) {
    ScheduledRow& row = group.rows[r];
    const auto length = static_cast<std::int64_t>(row.of().ids.size());
    row.chooses = group.kind == PassKind::generate && row.first + row.tokens == length &&
                  row.request->spec.options.max_new_tokens > 0;
    const bool has_head = group.kind == PassKind::generate || group.kind == PassKind::forward;
    if (has_head) row.wanted = wanted_tokens(row, *group.plan);
    for (std::int64_t token : row.wanted) wanted.push_back(batch->rows().starts[r] + token);
    per_row.push_back(static_cast<std::int64_t>(row.wanted.size()));
  }
  per_row.resize(static_cast<std::size_t>(batch->size()), 0);
  binding->set_wanted(std::move(wanted), std::move(per_row));
  Execution& execution = execution_for(group.plan);
  execution.bind(std::move(binding));
  group.execution = &execution;
}

Execution& Scheduler::State::execution_for(const std::shared_ptr<const Plan>& plan) {
  std::erase(recent, plan.get());
  recent.push_back(plan.get());
  std::unique_ptr<Execution>& execution = executions[plan.get()];
  if (!execution) execution = std::make_unique<Execution>(plan);
  if (recent.size() > kExecutions) {
    executions.erase(recent.front());
    recent.erase(recent.begin());
  }
  return *execution;
}

/// Runs the first group of `work` until it is complete (true) or the deadline has passed.
bool Scheduler::State::run_group(double deadline) {
  ScheduledGroup& group = work.front();
  try {
    if (!cancelled(group)) {
      if (group.execution == nullptr) start(group);
      for (;;) {
        if (group.execution->run(std::min(deadline, clock_seconds() + kCancelSeconds))) break;
        if (cancelled(group)) break;
        if (clock_seconds() >= deadline) return false;
      }
    }
  } catch (const Error& error) {
    if (error.code() == ErrorCode::cancelled) {
      rollback_all();
      throw;
    }
    split_failed(error.what(), error.code());
    return true;
  } catch (const std::exception& error) {
    split_failed(error.what(), ErrorCode::internal);
    return true;
  }
  if (cancelled(group)) {
    abandon();
    return true;
  }
  ScheduledGroup complete_group = std::move(work.front());
  work.pop_front();
  complete(complete_group);
  return true;
}

/// A pass that failed: each of its requests runs alone, so that only those at fault fail.
void Scheduler::State::split_failed(const std::string& text, ErrorCode code) {
  ScheduledGroup group = std::move(work.front());
  work.pop_front();
  // What was encoded together is encoded again, alone.
  const bool again = group.kind == PassKind::cross;
  std::vector<ScheduledGroup> alone;
  for (ScheduledRow& row : group.rows) {
    if (alone.empty() || alone.back().rows[0].request != row.request) {
      alone.emplace_back();
      alone.back().plan = again ? row.request->spec.encode_plan : group.plan;
      alone.back().kind = again ? PassKind::encode : group.kind;
      alone.back().padded = group.padded;
    }
    alone.back().rows.push_back(std::move(row));
  }
  if (alone.size() > 1) {
    for (std::size_t i = alone.size(); i-- > 0;) work.push_front(std::move(alone[i]));
    return;
  }
  for (const ScheduledRow& row : alone[0].rows) drop_row(row);
  const RequestPointer request = alone[0].rows[0].request;
  if (!request->done()) fail(request, text, code);
}

/// Forgets what a row would have added.
void Scheduler::State::drop_row(const ScheduledRow& row) {
  if (row.sequence >= row.request->sequences.size()) return;  // a search that ended keeps answers
  Sequence& sequence = row.of();
  if (!sequence.cache) return;
  if (row.request->done()) {
    sequence.cache.reset();
  } else {
    sequence.cache->rollback();
  }
}

void Scheduler::State::abandon() {
  const ScheduledGroup group = std::move(work.front());
  work.pop_front();
  for (const ScheduledRow& row : group.rows) drop_row(row);
  for (const ScheduledRow& row : group.rows) {
    const RequestPointer request = row.request;
    if (!request->done()) finish(request, FinishReason::cancelled);
  }
}

void Scheduler::State::rollback_all() {
  while (!work.empty()) {
    const ScheduledGroup group = std::move(work.front());
    work.pop_front();
    for (const ScheduledRow& row : group.rows) drop_row(row);
    for (const ScheduledRow& row : group.rows) settle(*row.request);
  }
}

/// The state that goes with what is computed.
void Scheduler::State::settle(Request& request) {
  if (request.done()) return;
  const std::int64_t computed = request.computed() + (request.progress.encoded ? 1 : 0);
  request.progress.state = computed == 0                                     ? RequestState::waiting
                           : request.computed() < request.spec.prompt_tokens ? RequestState::prefill
                                                                             : RequestState::decode;
  queue.changed(request);
}

bool Scheduler::State::in_flight(const Request& request) const {
  for (const ScheduledGroup& group : work) {
    for (const ScheduledRow& row : group.rows) {
      if (row.request.get() == &request) return true;
    }
  }
  return false;
}

}  // namespace perilune
