// One group's pass: bind, run, roll back.
#include <algorithm>
#include <limits>

#include "engine/base/error.h"
#include "engine/device/context.h"
#include "engine/serving/scheduler_state.h"

namespace perilune {

namespace {

constexpr double kCancelSeconds = 0.004;  // how often a running pass looks for cancelled rows

/// Appends the offsets in the row whose logits are needed to the group's.
void add_wanted(ScheduledRow& row, ScheduledGroup& group) {
  std::vector<std::int64_t>& wanted = group.wanted;
  const Request& request = *row.request;
  row.first_wanted = wanted.size();
  if (request.spec.kind == RequestKind::forward) {
    const Batch& input = *request.spec.forward_input;
    input.append_wanted(0, group.plan->program().default_rows, 0, wanted);
  } else {
    if (request.spec.options.prompt_logprobs && row.sequence == 0) {
      const auto done = static_cast<std::int64_t>(row.of().prompt_logprobs.size());
      for (std::int64_t t = std::max<std::int64_t>(0, done - row.first); t < row.tokens; ++t) {
        if (row.first + t < request.spec.prompt_tokens - 1) wanted.push_back(t);
      }
    }
    for (std::int64_t t = row.tokens - row.choices; t < row.tokens; ++t) {
      if (wanted.size() == row.first_wanted || wanted.back() < t) wanted.push_back(t);
    }
  }
  row.wanted = wanted.size() - row.first_wanted;
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

/// How many of its last tokens' logits give ids: of the newest id, and of guesses after it.
void count_choices(ScheduledRow& row, const ScheduledGroup& group) {
  const auto length = static_cast<std::int64_t>(row.of().context().size());
  row.chooses = group.kind == PassKind::generate && row.first + row.tokens >= length &&
                row.request->spec.options.max_new_tokens > 0;
  row.choices = row.chooses ? row.first + row.tokens - length + 1 : 0;
}

std::int64_t computed_positions(const ScheduledGroup& group) {
  std::int64_t tokens = 0, longest = 0;
  for (const ScheduledRow& row : group.rows) {
    tokens += row.tokens;
    longest = std::max(longest, row.tokens);
  }
  return group.padded ? static_cast<std::int64_t>(group.rows.size()) * longest : tokens;
}

/// Inputs of forward requests, or sources, as one batch.
std::shared_ptr<const Batch> Scheduler::State::join_inputs(
    const ScheduledGroup& group, const std::vector<std::int64_t>& fillers) const {
  std::shared_ptr<const Batch> batch;
  for (const ScheduledRow& row : group.rows) {
    const Request& request = *row.request;
    const auto& input =
        group.kind == PassKind::encode ? request.source_of(row.of()) : request.spec.forward_input;
    const auto one = input->with_rows(RowSelection::automatic);
    batch = batch ? batch->concat(*one) : one;
  }
  if (!fillers.empty()) {
    std::vector<std::vector<std::int32_t>> ids;
    ids.reserve(fillers.size());
    for (std::int64_t length : fillers) ids.emplace_back(static_cast<std::size_t>(length), 0);
    batch = batch->concat(*Batch::make(context, ids));
  }
  if (group.kind == PassKind::encode) return batch;
  std::vector<std::vector<std::int64_t>> wanted;
  for (const ScheduledRow& row : group.rows) {
    const std::span<const std::int64_t> own = group.wanted_of(row);
    wanted.emplace_back(own.begin(), own.end());
  }
  wanted.resize(static_cast<std::size_t>(batch->size()));
  return batch->with_rows(RowSelection::listed, std::move(wanted));
}

/// Ids that rows go on with.
std::shared_ptr<const Batch> Scheduler::State::next_batch(
    ScheduledGroup& group, const std::vector<std::int64_t>& fillers) {
  batch_rows.clear();
  for (const ScheduledRow& row : group.rows) {
    BatchMaker::Row next;
    const auto length = static_cast<std::int64_t>(row.of().context().size());
    std::span<const std::int32_t> ids = row.of().context();
    std::int64_t at = row.first;
    if (row.first + row.tokens > length) {  // guesses follow the last id
      ids = row.of().ahead;
      at -= length - 1;
    }
    next.ids = ids.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(row.tokens));
    next.facts.prompt_tokens = length;
    next.facts.first_position = row.first;
    next.facts.adapter = row.request->spec.adapter;
    next.wanted = group.wanted_of(row);
    batch_rows.push_back(next);
  }
  if (!fillers.empty()) {
    const std::int64_t longest = *std::max_element(fillers.begin(), fillers.end());
    filler_ids.assign(static_cast<std::size_t>(longest), 0);
  }
  for (const std::int64_t length : fillers) {
    BatchMaker::Row filler;
    filler.ids = std::span(filler_ids).first(static_cast<std::size_t>(length));
    batch_rows.push_back(filler);
  }
  return group.batches.make(context, batch_rows);
}

/// One cache a row, in pass_work; filler rows have pages of their own, outside the pool that
/// requests share.
void Scheduler::State::add_caches(ScheduledGroup& group, const std::vector<std::int64_t>& fillers) {
  std::vector<SequenceCache*>& caches = pass_work.caches;
  caches.clear();
  if (!group.rows[0].of().cache) return;
  for (const ScheduledRow& row : group.rows) caches.push_back(row.of().cache.get());
  const std::shared_ptr<Cache>& pool = group.rows[0].of().cache->cache();
  for (const std::int64_t length : fillers) {
    std::shared_ptr<Cache>& scratch = filler_caches[pool.get()];
    if (!scratch) {
      scratch = std::make_shared<Cache>(context, pool->device(), pool->layout(),
                                        std::numeric_limits<std::int64_t>::max() / 4);
    }
    group.fillers.push_back(std::make_unique<SequenceCache>(scratch));
    if (group.reserved && !group.fillers.back()->reserve(length)) {
      throw Error(ErrorCode::memory, "step", "no memory for the filler rows of a padded step");
    }
    caches.push_back(group.fillers.back().get());
  }
}

void Scheduler::State::start(ScheduledGroup& group) {
  const std::vector<std::int64_t> fillers = filler_lengths(group);
  group.fillers.clear();
  group.wanted.clear();
  std::int64_t at = 0;
  for (ScheduledRow& row : group.rows) {
    row.at = at;
    at += row.tokens;
    count_choices(row, group);
    if (group.kind != PassKind::encode) add_wanted(row, group);
  }
  std::shared_ptr<const Batch> batch =
      group.kind == PassKind::generate ? next_batch(group, fillers) : join_inputs(group, fillers);
  add_caches(group, fillers);
  pass_work.reserved = group.reserved;
  const bool encodes = group.kind == PassKind::encode;
  pass_work.encode = encodes ? group.plan : nullptr;
  pass_work.cross = encodes ? group.rows[0].request->spec.cross_plan : nullptr;
  pass_work.main = encodes ? nullptr : group.wide_plan ? group.wide_plan : group.plan;
  pass_work.source = encodes ? batch : nullptr;
  pass_work.batch = encodes ? nullptr : std::move(batch);
  group.run.restart(pass_work);
  pass_work.source = pass_work.batch = nullptr;
  group.run.reserve_or_throw("step");
  group.reserved = true;
  group.begun = true;
}

/// A group's pass without a pass: time goes by, keys and values count as written.
void Scheduler::State::run_dry(ScheduledGroup& group) {
  for (ScheduledRow& row : group.rows) {
    count_choices(row, group);
    dry->ran.push_back({row.request->id, row.tokens});
  }
  dry->ms += (dry->cost.ms_per_step +
              dry->cost.ms_per_token * static_cast<double>(computed_positions(group)));
  for (const ScheduledRow& row : group.rows) {
    SequenceCache* cache = row.of().cache.get();
    if (cache == nullptr) continue;
    if (group.kind == PassKind::encode) {
      cache->commit_cross(row.request->encoded_tokens_of(row.of()));
    } else {
      cache->set_made_for(static_cast<std::int64_t>(row.of().ids.size()));
      cache->commit(row.tokens);
    }
  }
}

/// What is needed of a pass that is done, where the host can read it. A fault of what a device did
/// by itself shows here, while nothing is committed.
void Scheduler::State::read_results(ScheduledGroup& group) {
  device_choice.begin();
  if (group.kind == PassKind::forward) {
    for (const std::string& name : group.run.output_names()) {
      group.outputs.emplace_back(name, group.run.output(name).to(context->cpu_device()));
    }
    return;
  }
  if (group.wide_plan) {
    group.hidden = group.run.output(group.hidden_path).to(context->cpu_device()).to(DType::f32);
  }
  if (group.kind == PassKind::generate && !group.wanted.empty()) {
    group.logits = group.run.output("logits");
    if (!choose_on_device(group, group.logits)) {
      group.logits = group.logits.to(context->cpu_device());
    }
  }
}

/// Runs the first group of `work` until it is complete (true) or the deadline has passed.
bool Scheduler::State::run_group(double deadline) {
  ScheduledGroup& group = work.front();
  try {
    if (dry) {
      run_dry(group);
    } else if (!cancelled(group)) {
      enter(StepPart::batch);
      if (!group.begun) start(group);
      enter(StepPart::bind);
      const auto writer = group.writer;
      if (writer) {
        writer->spec.hooks.write_pass(*writer, group.run);
      } else {
        group.run.bind();
      }
      enter(StepPart::run);
      while (!writer) {
        if (group.run.run(std::min(deadline, clock_seconds() + kCancelSeconds))) break;
        if (cancelled(group)) break;
        if (clock_seconds() >= deadline) return false;
      }
      enter(StepPart::read);
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
  enter(StepPart::events);
  GroupPointer done = work.take_front();
  if (!dry) done->run.commit();
  complete(*done);
  work.keep(std::move(done));
  enter(StepPart::rest);
  return true;
}

/// A pass that failed: each of its requests runs alone, so that only those at fault fail.
void Scheduler::State::split_failed(std::string_view text, ErrorCode code) {
  const GroupPointer group = work.take_front();
  group->run.end();
  for (const ScheduledRow& row : group->rows) drop_row(row);  // reserved again when they run
  std::vector<GroupPointer> alone;
  for (ScheduledRow& row : group->rows) {
    if (alone.empty() || alone.back()->rows[0].request != row.request) {
      ScheduledGroup& own = *alone.emplace_back(work.make());
      own.plan = group->plan;
      own.wide_plan = group->wide_plan;
      own.hidden_path = group->hidden_path;
      own.kind = group->kind;
      own.reserved = false;
      own.padded = group->padded;
      own.writer = group->writer;
    }
    alone.back()->rows.push_back(std::move(row));
  }
  if (alone.size() > 1) {
    for (std::size_t i = alone.size(); i-- > 0;) work.put_front(std::move(alone[i]));
    return;
  }
  const RequestPointer request = alone[0]->rows[0].request;
  if (!request->done()) fail(request, text, code);
}

/// Forgets what a row would have added.
void Scheduler::State::drop_row(const ScheduledRow& row) {
  if (row.sequence >= row.request->sequences.size()) return;  // a search that ended keeps answers
  Sequence& sequence = row.of();
  if (!sequence.cache) return;
  if (!row.request->done()) return sequence.cache->rollback();
  for (Sequence& each : row.request->sequences) each.cache.reset();  // companions have had no row
}

void Scheduler::State::abandon() {
  const GroupPointer group = work.take_front();
  group->run.end();
  for (const ScheduledRow& row : group->rows) drop_row(row);
  for (const ScheduledRow& row : group->rows) {
    const RequestPointer request = row.request;
    if (!request->done()) finish(request, FinishReason::cancelled);
  }
}

void Scheduler::State::rollback_all() {
  while (!work.empty()) {
    const GroupPointer group = work.take_front();
    group->run.end();
    for (const ScheduledRow& row : group->rows) drop_row(row);
    for (const ScheduledRow& row : group->rows) settle(*row.request);
  }
}

/// The state that goes with what is computed.
void Scheduler::State::settle(Request& request) {
  if (request.done()) return;
  const std::int64_t computed = request.computed() + (request.progress.encoded ? 1 : 0);
  request.progress.state = computed == 0     ? RequestState::waiting
                           : request.reads() ? RequestState::prefill
                                             : RequestState::decode;
  queue.changed(request);
}

bool Scheduler::State::in_flight(const Request& request) const {
  for (const GroupPointer& group : work.groups()) {
    for (const ScheduledRow& row : group->rows) {
      if (row.request.get() == &request) return true;
    }
  }
  return false;
}

}  // namespace perilune
