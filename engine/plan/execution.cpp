#include <chrono>
#include <thread>
#include <utility>

#include "engine/base/long_work.h"
#include "engine/plan/deadline.h"
#include "engine/plan/execution_state.h"
#include "engine/plan/pass_rows.h"
#include "engine/plan/rank_pass.h"

namespace perilune {

OpRun Execution::State::op_run(std::size_t step) {
  const PlanStep& of = plan->steps()[step];
  const Place& place = places[of.place];
  OpRun run{*plan->context(),
            *of.device,
            place.launch,
            inputs[step],
            outputs[step],
            binding.get(),
            plan->options().math,
            plan->options().cache_dtype,
            &axes,
            &tables,
            &(*constants)[step],
            binding->has_caches() ? &slots[step] : nullptr,
            given_ids[step]};
  run.table = place.table;
  return run;
}

void Execution::State::run_op(std::size_t step) {
  OpRun run = op_run(step);
  plan->steps()[step].op->run(run);
}

/// False where the deadline passed inside the op.
bool Execution::State::run_step(std::size_t step, double deadline) {
  try {
    if (kinds[step] == StepKind::op) {
      run_op(step);
      return true;
    }
    const Place& place = places.size() == 1 ? places[0] : places[plan->steps()[step].place];
    fetch_ahead(step + 1);
    const BoundRun run{*place.table, place.launch, *binding, axes, tables, kept};
    BoundCall& call = calls[step];
    if (place.on_host && cut.wanted(call, run, deadline)) return cut.run(call, run, deadline);
    call.run(run);
    return true;
  } catch (Error& error) {
    error.where(plan->steps()[step].where);
    throw;
  }
}

/// What the next kernel is called with, while this one reads megabytes of weights.
void Execution::State::fetch_ahead(std::size_t step) const {
  constexpr std::size_t kLine = 64;
  if (step >= calls.size()) return;
  const char* next = reinterpret_cast<const char*>(&calls[step]);
  for (std::size_t at = 0; at < sizeof(BoundCall); at += kLine) __builtin_prefetch(next + at);
}

Execution::Execution(std::shared_ptr<const Plan> plan) : state_(std::make_unique<State>()) {
  state_->plan = std::move(plan);
  state_->next = state_->plan->steps().size();
  state_->tensors.resize(state_->plan->values().size());
  state_->inputs.resize(state_->plan->steps().size());
  state_->outputs.resize(state_->plan->steps().size());
  state_->calls.resize(state_->plan->steps().size());
  state_->kinds.resize(state_->plan->steps().size());
  state_->lent_inputs.resize(state_->plan->values().size());
  state_->places.resize(state_->plan->devices().size());
  state_->look_at_steps();
  // Work that crosses to another device is waited for: the last one ends last.
  if (!state_->plan->steps().empty()) {
    state_->end = state_->plan->steps().back().device->make_event();
  }
}

Execution::~Execution() = default;

void Execution::bind(std::shared_ptr<PassBinding> binding) {
  State& state = *state_;
  state.next = state.plan->steps().size();
  state.started = false;
  state.cut.reset();
  state.binding = std::move(binding);
  state.tables.begin();
  state.kept.begin();
  try {
    if (state.constants == nullptr) state.constants = &state.plan->constants();
    for (std::size_t p = 0; p < state.places.size(); ++p) {
      const Device& device = *state.plan->devices()[p];
      state.places[p].launch = device.launch();
      state.places[p].on_host = device.kind() == DeviceKind::cpu;
      use_threads(state.places[p].launch, device, state.plan->options().threads);
      const bool timed = state.clock != nullptr && &state.clock->timed() == &device.kernels();
      state.places[p].table = timed ? &state.clock->table() : &device.kernels();
    }
    const bool moved = state.find_slots();
    for (const std::size_t i : state.input_values) (void)state.given_input(state.plan->values()[i]);
    bind_axes(*state.plan, *state.binding, state.axes);
    for (const std::size_t s : state.plan->axis_steps()) {
      for (const AxisIdentity made : state.plan->steps()[s].op->made_axes()) {
        state.binding->add_made_rows(state.axes.rows(made));
      }
    }
    const bool same = state.same_sizes();
    if (!same) state.place_buffers();
    state.make_tensors(!same);
    state.size_scratch(!same);
    if (!same || moved) state.bind_calls();
  } catch (...) {
    state.binding.reset();
    state.totals.clear();
    throw;
  }
  state.next = 0;
}

void Execution::release() {
  State& state = *state_;
  state.next = state.plan->steps().size();
  state.started = false;
  state.binding.reset();
  for (const std::size_t value : state.input_values) state.tensors[value] = Tensor();
  for (const std::size_t s : state.input_steps) {
    state.inputs[s].clear();
    const PlanStep& step = state.plan->steps()[s];
    if (!step.op->is_view()) continue;
    state.tensors[static_cast<std::size_t>(step.outputs[0])] = Tensor();
  }
}

bool Execution::run(double deadline) {
  const bool shared = state_->plan->options().ranks != nullptr && state_->binding != nullptr;
  return shared ? run_with_ranks() : run_ops(deadline);
}

/// All ranks at once: those that follow are told what to run, and wait in every sum for each other.
bool Execution::run_with_ranks() {
  const PlanOptions& options = state_->plan->options();
  RankGroup& group = *options.ranks->group;
  const auto turn = group.lock();
  if (group.leads() && group.size() > 1) send_pass(*state_->plan, *state_->binding);
  group.together([&] { run_ops(1e300); });
  return true;
}

/// What a device is to be given in one call is recorded there while this lives.
class Execution::State::Recording {
 public:
  Recording(State& state, DeviceGraph* graph)
      : state_(state), graph_(graph != nullptr && graph->begin() ? graph : nullptr) {}
  ~Recording() {
    if (graph_ == nullptr) return;
    graph_->abandon();
    state_.tables.forget_biases();  // their copies may have been recorded
  }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  bool on() const { return graph_ != nullptr; }
  void start() {
    if (graph_ != nullptr) std::exchange(graph_, nullptr)->end();
  }

 private:
  State& state_;
  DeviceGraph* graph_;
};

/// For a whole pass on one device that waits for nobody.
DeviceGraph* Execution::State::graph_for_run() {
  const bool whole =
      next == 0 && places.size() == 1 && !places[0].on_host && plan->options().ranks == nullptr;
  return whole ? graphs.take(*plan->devices()[0], totals) : nullptr;
}

bool Execution::run_ops(double deadline) {
  State& state = *state_;
  const std::size_t count = state.kinds.size();
  if (state.binding == nullptr) {
    throw Error(ErrorCode::state, state.plan->program().entry, "the pass is not bound to a batch");
  }
  Deadline end(deadline);
  const Context& context = *state.plan->context();
  State::Recording recording(state, state.graph_for_run());
  while (state.next < count) {
    state.started = true;
    const bool runs = state.kinds[state.next] != State::StepKind::view;
    if (runs) {
      tell_long_work(state.plan->program().entry.c_str(), state.next, count);
      if (context.interrupted()) {
        throw Error(ErrorCode::cancelled, state.plan->program().entry, "interrupted")
            .where(state.plan->steps()[state.next].where);
      }
      if (!state.run_step(state.next, deadline)) return false;
    }
    ++state.next;
    // Recording takes less than the deadline's looks would; the device's own time is reached()'s.
    if (state.next < count && runs && !recording.on() && end.passed_after_op()) return false;
    if (state.next < count) continue;
    recording.start();
    if (state.end != nullptr) state.end->record();
  }
  return state.reached(deadline);
}

/// Whether the device has done what was started; waits for it until the deadline. Without one, who
/// reads the results waits.
bool Execution::State::reached(double deadline) {
  constexpr auto kPause = std::chrono::microseconds(50);
  while (started && end != nullptr && deadline < 1e300 && !end->done()) {
    if (plan->context()->interrupted()) {
      throw Error(ErrorCode::cancelled, plan->program().entry, "interrupted");
    }
    if (clock_seconds() >= deadline) return false;
    std::this_thread::sleep_for(kPause);
  }
  started = false;
  return true;
}

bool Execution::done() const {
  return state_->next >= state_->plan->steps().size() && !state_->started;
}

void Execution::use_clock(const KernelClock* clock) {
  state_->clock = clock;
}

const Plan& Execution::plan() const {
  return *state_->plan;
}

PassBinding& Execution::binding() {
  if (state_->binding == nullptr) {
    throw Error(ErrorCode::state, plan().program().entry, "the pass is not bound to a batch");
  }
  return *state_->binding;
}

// Inside a run axes carry the program's numbers; outside, the batch's identities.
Tensor Execution::State::tagged(const Tensor& tensor) const {
  Shape shape = tensor.shape();
  for (int i = 0; i < shape.rank(); ++i) {
    const Axis& axis = shape.axis(i);
    if (axis.identity == 0 || axis.identity >= AxisRows::kFirstIdentity) continue;
    shape.resize(i, axis.size, axes.rows(axis.identity).identity);
  }
  return tensor.with_shape(shape);
}

Tensor Execution::output(const std::string& name) const {
  const State& state = *state_;
  if (state.binding == nullptr || !done()) {
    throw Error(ErrorCode::state, plan().program().entry, "\"" + name + "\" is not computed yet");
  }
  for (const auto& [known, value] : plan().outputs()) {
    if (known == name) return state.tagged(state.tensors[static_cast<std::size_t>(value)]);
  }
  throw Error(ErrorCode::argument, plan().program().entry, "there is no output \"" + name + "\"")
      .hint(did_you_mean(name, output_names()));
}

std::vector<std::string> Execution::output_names() const {
  std::vector<std::string> names;
  for (const auto& [name, value] : plan().outputs()) names.push_back(name);
  return names;
}

}  // namespace perilune
