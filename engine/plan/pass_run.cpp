#include "engine/plan/pass_run.h"

#include <algorithm>
#include <span>

#include "engine/base/error.h"
#include "engine/base/floating_point.h"
#include "engine/device/context.h"
#include "engine/plan/pass_stage.h"

namespace perilune {

struct PassRun::State {
  ExecutionStore& store;
  PassWork work;
  std::vector<Stage> stages;  // those that run, then what earlier runs left to use again
  std::size_t count = 0;      // of those that run
  std::size_t next = 0;
  std::vector<std::int64_t> encoded;
  bool writes_self = false, reserved = false, committed = false;

  explicit State(ExecutionStore& kept) : store(kept) {}

  void add_stage(const std::shared_ptr<const Plan>& plan,
                 const std::shared_ptr<const Batch>& batch);
  void begin();
  std::span<const Stage> passes() const { return {stages.data(), count}; }
  void check() const;
  void continue_rows();
  std::int64_t text_tokens(std::size_t row) const;
  void expect_same_keys() const;
  std::int64_t own_tokens(std::size_t row) const;
  std::int64_t encoded_tokens(std::size_t row) const;
  bool reserve_rows(PassFit& fit);
  void release();
  void bind_stage(Stage& stage);
  void bind_inputs(Stage& stage);
  const Stage& last() const { return stages.at(count - 1); }
};

void PassRun::State::check() const {
  const auto refuse = [](const std::string& what) {
    return Error(ErrorCode::argument, "forward", what);
  };
  const auto rows = [](std::int64_t count) { return std::to_string(count) + " rows"; };
  if (!work.encode && !work.cross && !work.main) throw refuse("there is no pass to run");
  if (work.cross && !work.encode) throw refuse("a cross pass needs the encoder before it");
  if (work.encode && !work.source) throw refuse("the encoder needs a source");
  if (work.main && !work.batch) throw refuse("the pass needs a batch");
  if (work.encode && work.main && work.source->size() != work.batch->size()) {
    throw refuse(rows(work.batch->size()) + " for a source of " + rows(work.source->size()));
  }
  const std::int64_t size = work.main ? work.batch->size() : work.source->size();
  const std::span<const Stage> all = passes();
  const bool keeps = std::any_of(all.begin(), all.end(), [](const Stage& stage) {
    return !stage.plan->program().kv_slots.empty();
  });
  if (work.caches.empty() && keeps) {
    throw Error(ErrorCode::state, "attention", "this pass keeps keys and values, and has no cache")
        .hint("give the pass a cache with one sequence for each row");
  }
  if (!work.caches.empty() && static_cast<std::int64_t>(work.caches.size()) != size) {
    throw refuse(std::to_string(work.caches.size()) + " caches for a batch of " + rows(size));
  }
}

/// Rows of the main pass continue where their caches end.
void PassRun::State::continue_rows() {
  if (!writes_self) return;
  const std::vector<SequenceFacts>& given = work.batch->facts();
  bool moves = false;
  for (std::size_t row = 0; row < work.caches.size(); ++row) {
    moves = moves || given[row].first_position != work.caches[row]->length();
  }
  if (!moves) return;
  std::vector<SequenceFacts> facts = given;
  for (std::size_t row = 0; row < work.caches.size(); ++row) {
    facts[row].first_position = work.caches[row]->length();
  }
  work.batch = work.batch->with_facts(std::move(facts));
}

/// How long a row's text is with what its cache holds, or what its prompt is known to become.
std::int64_t PassRun::State::text_tokens(std::size_t row) const {
  return std::max(work.batch->facts()[row].prompt_tokens,
                  work.caches[row]->length() + own_tokens(row));
}

void PassRun::State::expect_same_keys() const {
  if (!writes_self || work.main->program().length_tables.empty()) return;
  for (std::size_t row = 0; row < work.caches.size(); ++row) {
    const SequenceCache& cache = *work.caches[row];
    if (cache.length() == 0) continue;
    if (work.main->program().same_keys(cache.made_for(), text_tokens(row))) continue;
    throw Error(ErrorCode::state, "forward",
                "row " + std::to_string(row + 1) + ": its cache holds keys of a text of " +
                    std::to_string(cache.made_for()) + " tokens; a text of " +
                    std::to_string(text_tokens(row)) +
                    " has others, since this model's rotary positions depend on the length")
        .hint("begin again with an empty cache and the whole text");
  }
}

std::int64_t PassRun::State::own_tokens(std::size_t row) const {
  return writes_self ? work.batch->rows().length(static_cast<std::int64_t>(row)) : 0;
}

std::int64_t PassRun::State::encoded_tokens(std::size_t row) const {
  return encoded.empty() ? 0 : encoded[row];
}

void PassRun::State::release() {
  for (SequenceCache* cache : work.caches) cache->rollback();
  reserved = false;
}

/// All rows, or none.
bool PassRun::State::reserve_rows(PassFit& fit) {
  try {
    for (std::size_t row = 0; row < work.caches.size(); ++row) {
      SequenceCache& cache = *work.caches[row];
      const bool self = cache.reserve(own_tokens(row));
      if (self && cache.reserve_cross(encoded_tokens(row))) continue;
      release();
      fit = {false, row, self ? encoded_tokens(row) : own_tokens(row), cache.cache()->free_bytes(),
             cache.cache()->budget()};
      return false;
    }
  } catch (...) {
    release();
    throw;
  }
  reserved = true;
  return true;
}

/// What passes before this one made under the names that it reads.
void PassRun::State::bind_inputs(Stage& stage) {
  const auto before = static_cast<std::size_t>(&stage - stages.data());
  if (before == 0) return;
  for (const PlanValue& value : stage.plan->values()) {
    if (value.input.empty() || stage.batch->input(value.input).defined()) continue;
    for (std::size_t i = 0; i < before; ++i) {
      const std::vector<std::string> names = stages[i].names();
      if (std::find(names.begin(), names.end(), value.input) == names.end()) continue;
      RaggedRows rows = output_rows(*stages[i].plan, stages[i].batch, value.input);
      if (rows.identity == 0) rows.identity = stage.binding->context()->new_identity();
      stage.binding->set_input(value.input, stages[i].output(value.input), rows);
    }
  }
}

void PassRun::State::bind_stage(Stage& stage) {
  if (stage.binding == nullptr || stage.binding->context() != stage.plan->context()) {
    stage.binding = std::make_shared<PassBinding>(stage.plan->context(), stage.batch);
  } else {
    stage.binding->restart(stage.batch);
  }
  bind_inputs(stage);
  if (!work.caches.empty()) {
    stage.binding->set_caches(work.caches, &work.caches.front()->cache()->layout(), encoded);
  }
  stage.binding->bind_wanted(stage.plan->program().default_rows);
  stage.bound = true;
}

void PassRun::State::add_stage(const std::shared_ptr<const Plan>& plan,
                               const std::shared_ptr<const Batch>& batch) {
  if (plan == nullptr) return;
  if (count == stages.size()) stages.emplace_back();
  Stage& stage = stages[count++];
  stage.plan = plan;
  stage.batch = batch;
}

/// From `work`, which is given.
void PassRun::State::begin() {
  add_stage(work.encode, work.source);
  add_stage(work.cross, work.source);
  add_stage(work.main, work.batch);
  check();
  writes_self = work.main && work.main->program().writes(KvKind::self);
  continue_rows();
  expect_same_keys();
  if (work.main) stages[count - 1].batch = work.batch;
  if (work.cross) {
    const RaggedRows rows = output_rows(*work.encode, work.source);
    for (std::int64_t r = 0; r < rows.rows(); ++r) encoded.push_back(rows.length(r));
    if (rows.rows() != work.source->size()) {
      throw Error(ErrorCode::shape, work.encode->program().entry,
                  "\"encoded\" has " + std::to_string(rows.rows()) + " rows for a source of " +
                      std::to_string(work.source->size()));
    }
  }
  reserved = work.reserved;  // what throws before leaves the caller's room to the caller
}

PassRun::PassRun(ExecutionStore& store) : state_(std::make_unique<State>(store)) {}

PassRun::PassRun(ExecutionStore& store, PassWork work) : PassRun(store) {
  state_->work = std::move(work);
  state_->begin();
}

PassRun::~PassRun() {
  end();
}

void PassRun::restart(const PassWork& work) {
  end();
  state_->work = work;
  state_->begin();
}

void PassRun::end() {
  rollback();
  State& state = *state_;
  for (std::size_t i = 0; i < state.count; ++i) state.stages[i].end(state.store);
  state.count = state.next = 0;
  state.work.encode = state.work.cross = state.work.main = nullptr;
  state.work.source = state.work.batch = nullptr;
  state.work.caches.clear();
  state.encoded.clear();
  state.writes_self = state.reserved = state.committed = false;
}

PassFit PassRun::fits() const {
  const State& state = *state_;
  if (state.reserved || state.work.caches.empty()) return {};
  const Cache& pool = *state.work.caches.front()->cache();
  std::vector<CacheGrowth> growths;
  const auto grow = [&](std::size_t row) {
    growths.push_back({state.work.caches[row], state.own_tokens(row), state.encoded_tokens(row)});
  };
  for (std::size_t row = 0; row < state.work.caches.size(); ++row) grow(row);
  if (SequenceCache::bytes_needed(growths) <= pool.free_bytes()) return {};
  growths.clear();
  std::size_t row = 0;
  for (; row + 1 < state.work.caches.size(); ++row) {
    grow(row);
    if (SequenceCache::bytes_needed(growths) > pool.free_bytes()) break;
  }
  return {false, row, std::max(state.own_tokens(row), state.encoded_tokens(row)), pool.free_bytes(),
          pool.budget()};
}

bool PassRun::reserve() {
  PassFit fit;
  return state_->reserved || state_->reserve_rows(fit);
}

void PassRun::reserve_or_throw(const std::string& op) {
  PassFit fit;
  if (state_->reserved || state_->reserve_rows(fit)) return;
  throw Error(ErrorCode::memory, op,
              "the cache is full: row " + std::to_string(fit.row + 1) + " needs room for " +
                  std::to_string(fit.positions) + " more positions, " +
                  state_->work.caches.front()->cache()->free_text())
      .hint("drop sequences that are done, or give the cache a larger budget");
}

bool PassRun::next_pass() {
  State& state = *state_;
  if (!state.reserved && !state.work.caches.empty()) {
    throw Error(ErrorCode::state, "forward", "no room was reserved for the pass");
  }
  while (state.next < state.count && state.stages[state.next].done) ++state.next;
  if (state.next == state.count) return false;
  Stage& stage = state.stages[state.next];
  if (!stage.bound) state.bind_stage(stage);
  return true;
}

bool PassRun::bind() {
  if (!next_pass()) return false;
  Stage& stage = state_->stages[state_->next];
  if (stage.execution == nullptr) {
    stage.execution = state_->store.take(stage.plan);
    stage.execution->bind(stage.binding);
  }
  return true;
}

bool PassRun::run(double deadline) {
  const DefaultFloatingPoint arithmetic;  // bits do not depend on the calling thread
  State& state = *state_;
  while (bind()) {
    Stage& stage = state.stages[state.next];
    if (!stage.execution->run(deadline)) return false;
    stage.done = true;
    if (state.next + 1 < state.count && clock_seconds() >= deadline) return false;
  }
  return true;
}

const Plan& PassRun::pass_plan() const {
  return *state_->stages.at(state_->next).plan;
}

const std::shared_ptr<PassBinding>& PassRun::pass_binding() const {
  return state_->stages.at(state_->next).binding;
}

void PassRun::pass_done(NamedTensors outputs) {
  Stage& stage = state_->stages.at(state_->next);
  stage.written = std::move(outputs);
  stage.done = true;
}

bool PassRun::done() const {
  return state_->last().done;
}

Tensor PassRun::output(const std::string& name) const {
  return state_->last().output(name);
}

std::vector<std::string> PassRun::output_names() const {
  return state_->last().names();
}

NamedTensors PassRun::read_back() const {
  return state_->last().on_host();
}

NamedTensors PassRun::read_back_encoded() const {
  const State& state = *state_;
  if (!state.work.encode) return {};
  NamedTensors all = state.stages.front().on_host();
  if (!state.work.cross) return all;
  for (auto& output : state.stages.at(1).on_host()) all.push_back(std::move(output));
  return all;
}

const PassBinding& PassRun::binding() const {
  if (!state_->last().bound) {
    throw Error(ErrorCode::state, "forward", "the pass has not run yet");
  }
  return *state_->last().binding;
}

const Batch& PassRun::batch() const {
  return *state_->last().batch;
}

std::shared_ptr<const Batch> PassRun::answered() const {
  return state_->last().answered();
}

std::shared_ptr<const Batch> PassRun::answered_encoded() const {
  return state_->work.encode ? state_->stages.front().answered() : nullptr;
}

const std::vector<std::int64_t>& PassRun::encoded_lengths() const {
  return state_->encoded;
}

void PassRun::commit() {
  State& state = *state_;
  if (!done() || state.committed) {
    throw Error(ErrorCode::internal, "forward", "a pass that is not done was committed");
  }
  state.committed = true;
  for (std::size_t row = 0; row < state.work.caches.size(); ++row) {
    SequenceCache& cache = *state.work.caches[row];
    if (state.work.cross) cache.commit_cross(state.encoded[row]);
    if (!state.writes_self) continue;
    cache.set_made_for(state.text_tokens(row));
    cache.commit(state.own_tokens(row));
  }
}

void PassRun::rollback() {
  if (state_->reserved && !state_->committed) state_->release();
}

}  // namespace perilune
