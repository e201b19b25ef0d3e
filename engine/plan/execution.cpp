#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>

#include "engine/device/kernel_clock.h"
#include "engine/ops/run_tables.h"
#include "engine/plan/deadline.h"
#include "engine/plan/pass_rows.h"
#include "engine/plan/plan.h"

namespace perilune {

struct Execution::State {
  /// What an execution holds on one of the plan's devices.
  struct Place {
    std::shared_ptr<Storage> arena;
    std::unique_ptr<Storage> scratch;
    kernels::Launch launch;
  };

  std::shared_ptr<const Plan> plan;
  std::shared_ptr<PassBinding> binding;
  AxisRows axes;
  RunTables tables;
  const std::vector<OpConstants>* constants = nullptr;  // of the plan
  std::optional<CacheLayout> layout;                    // that `slots` were found in
  std::vector<KvSlot> slots;                            // per step; of those with a kv_use
  std::vector<std::int64_t> totals, now;                // per program axis: last bind, this one
  std::vector<Place> places;
  std::vector<Tensor> tensors;                       // per value
  std::vector<std::vector<Tensor>> inputs, outputs;  // per step, as ops take them
  std::vector<std::size_t> input_values;             // that a step or an output reads
  std::vector<std::size_t> input_steps;              // steps that read an input, or a view of one
  std::vector<bool> given_ids;      // per step: ids come from an input, checked at bind
  std::vector<Tensor> lent_inputs;  // per value: inputs' memory on devices of their own
  const KernelClock* clock = nullptr;
  std::size_t next = 0;
  std::unique_ptr<DeviceEvent> end;  // of what was started last, where a device works on its own
  bool started = false;              // all ops were; the device has not been seen to be done

  bool reached(double deadline);

  void look_at_steps();
  bool same_sizes();
  void find_slots();
  void place_buffers();
  void grow_arena(Place& place, std::size_t device, std::size_t bytes);
  void make_tensors(bool all);
  const Tensor& given_input(const PlanValue& value) const;
  void read_input(std::size_t value);
  void check_given_ids(std::size_t value, const Tensor& host) const;
  void size_scratch(bool all);
  OpRun op_run(std::size_t step);
  Tensor tagged(const Tensor& tensor) const;
};

// ---------------------------------------------------------------- binding

/// Whether every axis has the size it had; remembers the new ones.
bool Execution::State::same_sizes() {
  now.resize(plan->program().axes.size());
  for (std::size_t i = 0; i < now.size(); ++i) {
    const bool known = axes.has(i + 1);
    now[i] = known ? axes.rows(i + 1).total() : -1;
  }
  if (now == totals) return true;
  totals = now;
  return false;
}

/// What follows from the plan alone.
void Execution::State::look_at_steps() {
  const std::vector<PlanValue>& values = plan->values();
  std::vector<bool> from_input(values.size(), false);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i].input.empty() || values[i].last_step < 0) continue;
    input_values.push_back(i);
    from_input[i] = true;
  }
  const std::vector<PlanStep>& steps = plan->steps();
  given_ids.resize(steps.size());
  for (std::size_t s = 0; s < steps.size(); ++s) {
    const PlanStep& step = steps[s];
    const bool reads = std::any_of(step.inputs.begin(), step.inputs.end(), [&](int id) {
      return from_input[static_cast<std::size_t>(id)];
    });
    if (reads) input_steps.push_back(s);
    if (reads && step.op->is_view()) from_input[static_cast<std::size_t>(step.outputs[0])] = true;
    given_ids[s] =
        step.op->has_ids() && !values[static_cast<std::size_t>(step.inputs[0])].input.empty();
  }
}

/// Where keys and values of each step lie: looked up again only for another layout.
void Execution::State::find_slots() {
  if (!binding->has_caches()) return;
  const CacheLayout& given = *binding->cache_layout();
  if (layout && layout->same(given)) return;
  layout.reset();
  slots.resize(plan->steps().size());
  for (std::size_t s = 0; s < slots.size(); ++s) {
    const std::optional<KvUse> use = plan->steps()[s].op->kv_use();
    if (!use) continue;
    try {
      slots[s] = given.slot(std::string(use->path), use->kind);
    } catch (Error& error) {
      error.where(plan->steps()[s].where);
      throw;
    }
  }
  layout = given;
}

// The old arena goes first, so that both are never held at once. A little headroom where memory
// allows, so that a batch that grows token by token does not allocate each time.
void Execution::State::grow_arena(Place& place, std::size_t device, std::size_t bytes) {
  for (Tensor& tensor : tensors) tensor = Tensor();
  for (std::vector<Tensor>& list : inputs) list.clear();
  for (std::vector<Tensor>& list : outputs) list.clear();
  place.arena.reset();
  const auto make = [&](std::size_t size) {
    return std::make_shared<Storage>(plan->context(), plan->devices()[device],
                                     ScratchCursor::align(size + 64));
  };
  try {
    place.arena = make(bytes + bytes / 4);
  } catch (const Error&) {
    place.arena = make(bytes);
  }
}

/// Sizes buffers and places the values that live in them.
void Execution::State::place_buffers() {
  const std::vector<PlanValue>& values = plan->values();
  const auto buffers = static_cast<std::size_t>(plan->buffers_);
  std::vector<Shape> shapes(values.size());
  std::vector<std::size_t> sizes(buffers, 0), offsets(buffers, 0), places_of(buffers, 0);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i].buffer < 0) continue;
    const auto buffer = static_cast<std::size_t>(values[i].buffer);
    shapes[i] = axes.resolve(values[i].spec.shape, true);
    const auto bytes =
        static_cast<std::size_t>(shapes[i].elements()) * dtype_size(values[i].spec.dtype);
    sizes[buffer] = std::max(sizes[buffer], ScratchCursor::align(bytes));
    places_of[buffer] = values[i].place;
  }
  std::vector<std::size_t> totals_of(places.size(), 0);
  for (std::size_t b = 0; b < buffers; ++b) {
    offsets[b] = totals_of[places_of[b]];
    totals_of[places_of[b]] += sizes[b];
  }
  for (std::size_t p = 0; p < places.size(); ++p) {
    const std::shared_ptr<Storage>& arena = places[p].arena;
    if (arena == nullptr || arena->bytes() < totals_of[p]) grow_arena(places[p], p, totals_of[p]);
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i].buffer < 0) continue;
    const std::size_t offset = offsets[static_cast<std::size_t>(values[i].buffer)];
    const Tensor::Strides strides = row_major(shapes[i]);
    tensors[i] =
        Tensor(places[values[i].place].arena, values[i].spec.dtype, std::move(shapes[i]), strides,
               static_cast<std::int64_t>(offset / dtype_size(values[i].spec.dtype)));
  }
}

void Execution::State::check_given_ids(std::size_t value, const Tensor& given) const {
  for (const std::size_t s : input_steps) {
    const PlanStep& step = plan->steps()[s];
    if (!given_ids[s] || static_cast<std::size_t>(step.inputs[0]) != value) continue;
    const Tensor host = given.to_contiguous().to(plan->context()->cpu_device());
    const Axis& axis = plan->values()[value].spec.shape.axis(0);
    const bool ragged = axis.identity != 0 && host.shape().rank() == 1;
    try {
      step.op->check_ids(host, ragged ? &axes.rows(axis.identity) : nullptr);
    } catch (Error& error) {
      error.where(step.where);
      throw;
    }
  }
}

const Tensor& Execution::State::given_input(const PlanValue& value) const {
  const Tensor& tensor = binding->input(value.input);
  if (tensor.defined()) return tensor;
  throw Error(ErrorCode::argument, plan->program().entry,
              "the pass needs \"" + value.input + "\", which was not given")
      .operand(value.input, value.spec.text());
}

void Execution::State::read_input(std::size_t index) {
  const PlanValue& value = plan->values()[index];
  const std::string& name = value.input;
  const std::string& op = plan->program().entry;
  const Tensor& tensor = given_input(value);
  const Shape shape = axes.resolve(value.spec.shape, true);
  bool fits = tensor.dtype() == value.spec.dtype && tensor.shape().rank() == shape.rank();
  for (int i = 0; fits && i < shape.rank(); ++i) fits = tensor.shape().size(i) == shape.size(i);
  if (!fits) {
    throw Error(ErrorCode::shape, op,
                "\"" + name + "\" has another form than the pass was written for")
        .operand("given", tensor.describe())
        .operand("expected", value.spec.text());
  }
  check_given_ids(index, tensor);
  const std::shared_ptr<Device>& device = plan->devices()[value.place];
  if (tensor.storage()->device() == device) {
    tensors[index] = tensor.with_shape(shape);
    return;
  }
  Tensor& lent = lent_inputs[index];
  if (!lent.defined() || lent.shape() != shape) {
    lent = Tensor::make(plan->context(), value.spec.dtype, shape, device);
  }
  lent.copy_from(tensor);
  tensors[index] = lent;
}

/// Inputs, constants and views; then the operands of every step. `all` false: only what hangs on
/// the batch's own tensors.
void Execution::State::make_tensors(bool all) {
  const std::vector<PlanValue>& values = plan->values();
  for (const std::size_t value : input_values) read_input(value);
  for (std::size_t i = 0; all && i < values.size(); ++i) {
    if (!values[i].constant.defined()) continue;
    tensors[i] = values[i].constant.on(*plan->devices()[values[i].place]);
  }
  const std::vector<PlanStep>& steps = plan->steps();
  const std::size_t count = all ? steps.size() : input_steps.size();
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t s = all ? i : input_steps[i];
    const PlanStep& step = steps[s];
    inputs[s].clear();
    for (const int id : step.inputs) inputs[s].push_back(tensors[static_cast<std::size_t>(id)]);
    if (step.op->is_view()) {
      tensors[static_cast<std::size_t>(step.outputs[0])] = *step.op->view(inputs[s]);
    }
    if (!all) continue;
    outputs[s].clear();
    for (const int id : step.outputs) outputs[s].push_back(tensors[static_cast<std::size_t>(id)]);
  }
}

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
  run.launch.scratch = place.scratch == nullptr ? nullptr : place.scratch->data();
  if (clock != nullptr && &clock->timed() == &of.device->kernels()) run.table = &clock->table();
  return run;
}

/// The most that any op needs. `all` false: sizes are those of the last bind, only ops that look
/// further are asked again.
void Execution::State::size_scratch(bool all) {
  for (std::size_t p = 0; p < places.size(); ++p) {
    std::size_t most = 0;
    for (std::size_t s = 0; s < plan->steps().size(); ++s) {
      const PlanStep& step = plan->steps()[s];
      if (step.place != p || step.op->is_view()) continue;
      if (!all && !step.op->scratch_follows_binding()) continue;
      try {
        most = std::max(most, step.op->scratch_bytes(op_run(s)));
      } catch (Error& error) {
        error.where(step.where);
        throw;
      }
    }
    std::unique_ptr<Storage>& scratch = places[p].scratch;
    if (most == 0 || (scratch != nullptr && scratch->bytes() >= most)) continue;
    scratch.reset();
    scratch = std::make_unique<Storage>(plan->context(), plan->devices()[p],
                                        ScratchCursor::align(most + most / 4));
  }
}

// ---------------------------------------------------------------- the execution

Execution::Execution(std::shared_ptr<const Plan> plan) : state_(std::make_unique<State>()) {
  state_->plan = std::move(plan);
  state_->next = state_->plan->steps().size();
  state_->tensors.resize(state_->plan->values().size());
  state_->inputs.resize(state_->plan->steps().size());
  state_->outputs.resize(state_->plan->steps().size());
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
  state.binding = std::move(binding);
  state.tables.begin();
  try {
    state.constants = &state.plan->constants();
    for (std::size_t p = 0; p < state.places.size(); ++p) {
      const Device& device = *state.plan->devices()[p];
      state.places[p].launch = device.launch();
      use_threads(state.places[p].launch, device, state.plan->options().threads);
    }
    state.find_slots();
    for (const std::size_t i : state.input_values) (void)state.given_input(state.plan->values()[i]);
    bind_axes(*state.plan, *state.binding, state.axes);
    const bool same = state.same_sizes();
    if (!same) state.place_buffers();
    state.make_tensors(!same);
    state.size_scratch(!same);
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
  State& state = *state_;
  const std::vector<PlanStep>& steps = state.plan->steps();
  if (state.binding == nullptr) {
    throw Error(ErrorCode::state, state.plan->program().entry, "the pass is not bound to a batch");
  }
  Deadline end(deadline);
  while (state.next < steps.size()) {
    state.started = true;
    const PlanStep& step = steps[state.next];
    if (!step.op->is_view()) {
      if (state.plan->context()->interrupted()) {
        throw Error(ErrorCode::cancelled, state.plan->program().entry, "interrupted")
            .where(step.where);
      }
      try {
        OpRun run = state.op_run(state.next);
        step.op->run(run);
      } catch (Error& error) {
        error.where(step.where);
        throw;
      }
    }
    ++state.next;
    if (state.next < steps.size() && !step.op->is_view() && end.passed_after_op()) return false;
    if (state.next == steps.size() && state.end != nullptr) state.end->record();
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
