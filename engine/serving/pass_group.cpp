// One group's pass: bind, run, roll back.
#include <algorithm>
#include <limits>

#include "engine/base/error.h"
#include "engine/device/context.h"
#include "engine/serving/scheduler_state.h"

namespace perilune {

namespace {

constexpr double kCancelSeconds = 0.004;  // how often a running pass looks for cancelled rows

/// Offsets in the row whose logits are needed.
std::vector<std::int64_t> needed_logits(const ScheduledRow& row, const Plan& plan) {
  const Request& request = *row.request;
  if (request.spec.kind == RequestKind::forward) {
    return wanted_offsets(*request.spec.forward_input, 0, plan.program());
  }
  std::vector<std::int64_t> wanted;
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

/// One cache a row; filler rows have pages of their own, outside the pool that requests share.
std::vector<SequenceCache*> Scheduler::State::caches_of(ScheduledGroup& group,
                                                        const std::vector<std::int64_t>& fillers) {
  std::vector<SequenceCache*> caches;
  if (!group.rows[0].of().cache) return caches;
  for (const ScheduledRow& row : group.rows) caches.push_back(row.of().cache.get());
  const std::shared_ptr<Cache> pool = group.rows[0].of().cache->cache();
  for (std::size_t i = 0; i < fillers.size(); ++i) {
    std::shared_ptr<Cache>& scratch = filler_caches[pool.get()];
    if (!scratch) {
      scratch = std::make_shared<Cache>(context, pool->device(), pool->layout(),
                                        std::numeric_limits<std::int64_t>::max() / 4);
    }
    group.fillers.push_back(std::make_unique<SequenceCache>(scratch));
    if (group.reserved && !group.fillers.back()->reserve(fillers[i])) {
      throw Error(ErrorCode::memory, "step", "no memory for the filler rows of a padded step");
    }
    caches.push_back(group.fillers.back().get());
  }
  return caches;
}

void Scheduler::State::start(ScheduledGroup& group) {
  const std::vector<std::int64_t> fillers = filler_lengths(group);
  std::shared_ptr<const Batch> batch = make_batch(group, fillers);
  group.fillers.clear();
  PassWork work;
  work.caches = caches_of(group, fillers);
  work.reserved = group.reserved;
  if (group.kind == PassKind::encode) {
    work.encode = group.plan;
    work.cross = group.rows[0].request->spec.cross_plan;
    work.source = std::move(batch);
  } else {
    std::vector<std::vector<std::int64_t>> wanted;
    for (ScheduledRow& row : group.rows) {
      const auto length = static_cast<std::int64_t>(row.of().ids.size());
      row.chooses = group.kind == PassKind::generate && row.first + row.tokens == length &&
                    row.request->spec.options.max_new_tokens > 0;
      row.wanted = needed_logits(row, *group.plan);
      wanted.push_back(row.wanted);
    }
    wanted.resize(static_cast<std::size_t>(batch->size()));
    work.main = group.plan;
    work.batch = batch->with_rows(RowSelection::listed, std::move(wanted));
  }
  auto run = std::make_unique<PassRun>(executions, std::move(work));
  run->reserve_or_throw("step");
  group.reserved = true;
  group.run = std::move(run);
}

/// What is needed of a pass that is done, where the host can read it. A fault of what a device did
/// by itself shows here, while nothing is committed.
void Scheduler::State::read_results(ScheduledGroup& group) {
  best_ids.clear();
  if (group.kind == PassKind::forward) {
    for (const std::string& name : group.run->output_names()) {
      group.outputs.emplace_back(name, group.run->output(name).to(context->cpu_device()));
    }
  } else if (group.kind == PassKind::generate && !group.run->binding().wanted().empty()) {
    group.logits = group.run->output("logits");
    if (!choose_on_device(group, group.logits)) {
      group.logits = group.logits.to(context->cpu_device());
    }
  }
}

/// Runs the first group of `work` until it is complete (true) or the deadline has passed.
bool Scheduler::State::run_group(double deadline) {
  ScheduledGroup& group = work.front();
  try {
    if (!cancelled(group)) {
      if (group.run == nullptr) start(group);
      for (;;) {
        if (group.run->run(std::min(deadline, clock_seconds() + kCancelSeconds))) break;
        if (cancelled(group)) break;
        if (clock_seconds() >= deadline) return false;
      }
      if (!cancelled(group)) read_results(group);
    }
  } catch (const Error& error) {
    if (error.code() == ErrorCode::cancelled) {
      rollback_all();
      throw;
    }
    split_failed(error.what(), error.code());
    return true;
  } catch (const std::exception&) {
    tell_failure([&](std::string_view text, ErrorCode code) { split_failed(text, code); });
    return true;
  }
  if (cancelled(group)) {
    abandon();
    return true;
  }
  ScheduledGroup complete_group = std::move(work.front());
  work.pop_front();
  complete_group.run->commit();
  complete(complete_group);
  return true;
}

/// A pass that failed: each of its requests runs alone, so that only those at fault fail.
void Scheduler::State::split_failed(std::string_view text, ErrorCode code) {
  ScheduledGroup group = std::move(work.front());
  work.pop_front();
  group.run.reset();
  for (const ScheduledRow& row : group.rows) drop_row(row);  // reserved again when they run
  std::vector<ScheduledGroup> alone;
  for (ScheduledRow& row : group.rows) {
    if (alone.empty() || alone.back().rows[0].request != row.request) {
      alone.emplace_back();
      alone.back().plan = group.plan;
      alone.back().kind = group.kind;
      alone.back().reserved = false;
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
  ScheduledGroup group = std::move(work.front());
  work.pop_front();
  group.run.reset();
  for (const ScheduledRow& row : group.rows) drop_row(row);
  for (const ScheduledRow& row : group.rows) {
    const RequestPointer request = row.request;
    if (!request->done()) finish(request, FinishReason::cancelled);
  }
}

void Scheduler::State::rollback_all() {
  while (!work.empty()) {
    ScheduledGroup group = std::move(work.front());
    work.pop_front();
    group.run.reset();
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
