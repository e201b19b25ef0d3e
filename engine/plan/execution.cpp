#include <algorithm>

#include "engine/plan/plan.h"

namespace perilune {

struct Execution::State {
  std::shared_ptr<const Plan> plan;
  std::shared_ptr<PassBinding> binding;
  AxisRows axes;
  KvRowCache kv_rows;
  std::vector<std::int64_t> totals;  // per program axis, of the last bind
  std::shared_ptr<Storage> arena;
  std::unique_ptr<Storage> scratch;
  std::vector<Tensor> tensors;                       // per value
  std::vector<std::vector<Tensor>> inputs, outputs;  // per step, as ops take them
  std::vector<bool> from_input;                      // per value: an input or a view of one
  std::size_t next = 0;

  void bind_axes();
  bool same_sizes();
  void find_input_values();
  void place_buffers();
  void grow_arena(std::size_t bytes);
  void make_tensors(bool all);
  Tensor input_tensor(const PlanValue& value) const;
  void size_scratch(bool all);
  OpRun op_run(std::size_t step);
  Tensor tagged(const Tensor& tensor) const;
};

// ---------------------------------------------------------------- binding

// Rows of every axis of the program: the batch's own, its wanted ones, an input's, or what an op
// makes of them.
void Execution::State::bind_axes() {
  axes = AxisRows(binding.get());
  const Program& program = plan->program();
  const Batch& batch = binding->batch();
  for (std::size_t i = 0; i < program.axes.size(); ++i) {
    const ProgramAxis& axis = program.axes[i];
    const AxisIdentity number = i + 1;
    if (axis.source.empty()) continue;
    if (axis.source == "batch" && axis.name == "batch") {
      axes.set(number, RaggedRows::from_lengths(
                           "batch", batch.batch_identity(),
                           std::vector<std::int64_t>(static_cast<std::size_t>(batch.size()), 1)));
    } else if (axis.source == "batch") {
      axes.set(number, batch.rows());
    } else if (axis.source == "wanted") {
      const AxisIdentity wanted = binding->wanted_identity();
      axes.set(number, wanted == 0 ? RaggedRows{"token", 0, {0}} : binding->rows(wanted));
    } else if (const Tensor* input = binding->input(axis.source)) {
      axes.set(number, binding->rows(input->shape().axis(0).identity));
    }
  }
  for (const PlanStep& step : plan->steps()) {
    const std::vector<AxisIdentity> made = step.op->made_axes();
    if (made.empty()) continue;
    std::vector<TensorSpec> specs;
    for (const int id : step.inputs) {
      specs.push_back(plan->values()[static_cast<std::size_t>(id)].spec);
    }
    std::vector<RaggedRows> rows = step.op->bind_axes(specs, *binding, axes);
    for (std::size_t i = 0; i < made.size(); ++i) axes.set(made[i], std::move(rows[i]));
  }
}

/// Whether every axis has the size it had; remembers the new ones.
bool Execution::State::same_sizes() {
  std::vector<std::int64_t> now(plan->program().axes.size(), 0);
  for (std::size_t i = 0; i < now.size(); ++i) {
    const bool known = axes.has(i + 1);
    now[i] = known ? axes.rows(i + 1).total() : -1;
  }
  if (now == totals) return true;
  totals = std::move(now);
  return false;
}

void Execution::State::find_input_values() {
  from_input.assign(plan->values().size(), false);
  for (std::size_t i = 0; i < from_input.size(); ++i) {
    from_input[i] = !plan->values()[i].input.empty();
  }
  for (const PlanStep& step : plan->steps()) {
    if (step.op->is_view() && from_input[static_cast<std::size_t>(step.inputs[0])]) {
      from_input[static_cast<std::size_t>(step.outputs[0])] = true;
    }
  }
}

// The old arena goes first, so that both are never held at once. A little headroom where memory
// allows, so that a batch that grows token by token does not allocate each time.
void Execution::State::grow_arena(std::size_t bytes) {
  for (Tensor& tensor : tensors) tensor = Tensor();
  for (std::vector<Tensor>& list : inputs) list.clear();
  for (std::vector<Tensor>& list : outputs) list.clear();
  arena.reset();
  const auto make = [&](std::size_t size) {
    return std::make_shared<Storage>(plan->context(), plan->options().device,
                                     ScratchCursor::align(size + 64));
  };
  try {
    arena = make(bytes + bytes / 4);
  } catch (const Error&) {
    arena = make(bytes);
  }
}

/// Sizes buffers and places the values that live in them.
void Execution::State::place_buffers() {
  const std::vector<PlanValue>& values = plan->values();
  std::vector<Shape> shapes(values.size());
  std::vector<std::size_t> offsets(static_cast<std::size_t>(plan->buffers_) + 1, 0);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i].buffer < 0) continue;
    shapes[i] = axes.resolve(values[i].spec.shape, true);
    std::size_t& size = offsets[static_cast<std::size_t>(values[i].buffer) + 1];
    const auto bytes =
        static_cast<std::size_t>(shapes[i].elements()) * dtype_size(values[i].spec.dtype);
    size = std::max(size, ScratchCursor::align(bytes));
  }
  for (std::size_t b = 1; b < offsets.size(); ++b) offsets[b] += offsets[b - 1];
  if (arena == nullptr || arena->bytes() < offsets.back()) grow_arena(offsets.back());
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i].buffer < 0) continue;
    const std::size_t offset = offsets[static_cast<std::size_t>(values[i].buffer)];
    const Tensor::Strides strides = row_major(shapes[i]);
    tensors[i] = Tensor(arena, values[i].spec.dtype, std::move(shapes[i]), strides,
                        static_cast<std::int64_t>(offset / dtype_size(values[i].spec.dtype)));
  }
}

Tensor Execution::State::input_tensor(const PlanValue& value) const {
  const Batch& batch = binding->batch();
  const std::string& name = value.input;
  Tensor tensor;
  if (const Tensor* given = binding->input(name)) {
    tensor = *given;
  } else if (name == "ids") {
    tensor = batch.ids();
  } else if (name == "positions") {
    tensor = batch.positions();
  } else if (name == "type_ids") {
    tensor = batch.type_ids();
  } else if (batch.inputs().count(name) != 0) {
    tensor = batch.inputs().at(name);
  }
  const std::string& op = plan->program().entry;
  if (!tensor.defined()) {
    throw Error(ErrorCode::argument, op, "the pass needs \"" + name + "\", which was not given")
        .operand(name, value.spec.text());
  }
  const Shape shape = axes.resolve(value.spec.shape, true);
  bool fits = tensor.dtype() == value.spec.dtype && tensor.shape().rank() == shape.rank();
  for (int i = 0; fits && i < shape.rank(); ++i) fits = tensor.shape().size(i) == shape.size(i);
  if (!fits) {
    throw Error(ErrorCode::shape, op,
                "\"" + name + "\" has another form than the pass was written for")
        .operand("given", tensor.describe())
        .operand("expected", value.spec.text());
  }
  return tensor.to(plan->options().device).with_shape(shape);
}

/// Inputs, constants and views; then the operands of every step. `all` false: only what hangs on
/// the batch's own tensors.
void Execution::State::make_tensors(bool all) {
  const std::vector<PlanValue>& values = plan->values();
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!values[i].input.empty() && values[i].last_step >= 0) tensors[i] = input_tensor(values[i]);
    if (all && values[i].constant.defined()) {
      tensors[i] = values[i].constant.on(*plan->options().device);
    }
  }
  const std::vector<PlanStep>& steps = plan->steps();
  for (std::size_t s = 0; s < steps.size(); ++s) {
    const PlanStep& step = steps[s];
    const bool touched = std::any_of(step.inputs.begin(), step.inputs.end(), [&](int id) {
      return from_input[static_cast<std::size_t>(id)];
    });
    if (!all && !touched) continue;
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
  OpRun run{*plan->context(),
            *of.device,
            of.device->launch(),
            inputs[step],
            outputs[step],
            binding.get(),
            plan->options().math,
            plan->options().cache_dtype,
            &axes,
            &kv_rows};
  use_threads(run, plan->options().threads);
  run.launch.scratch = scratch == nullptr ? nullptr : scratch->data();
  return run;
}

/// The most that any op needs. `all` false: sizes are those of the last bind, only ops that look
/// further are asked again.
void Execution::State::size_scratch(bool all) {
  std::size_t most = 0;
  for (std::size_t s = 0; s < plan->steps().size(); ++s) {
    const PlanStep& step = plan->steps()[s];
    if (step.op->is_view() || (!all && !step.op->scratch_follows_binding())) continue;
    try {
      most = std::max(most, step.op->scratch_bytes(op_run(s)));
    } catch (Error& error) {
      error.where(step.where);
      throw;
    }
  }
  if (most == 0 || (scratch != nullptr && scratch->bytes() >= most)) return;
  scratch.reset();
  scratch = std::make_unique<Storage>(plan->context(), plan->options().device,
                                      ScratchCursor::align(most + most / 4));
}

// ---------------------------------------------------------------- the execution

Execution::Execution(std::shared_ptr<const Plan> plan) : state_(std::make_unique<State>()) {
  state_->plan = std::move(plan);
  state_->next = state_->plan->steps().size();
  state_->tensors.resize(state_->plan->values().size());
  state_->inputs.resize(state_->plan->steps().size());
  state_->outputs.resize(state_->plan->steps().size());
  state_->find_input_values();
}

Execution::~Execution() = default;

void Execution::bind(std::shared_ptr<PassBinding> binding) {
  State& state = *state_;
  state.next = state.plan->steps().size();
  state.binding = std::move(binding);
  state.kv_rows.clear();
  try {
    state.bind_axes();
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

bool Execution::run(double deadline) {
  State& state = *state_;
  const std::vector<PlanStep>& steps = state.plan->steps();
  if (state.binding == nullptr) {
    throw Error(ErrorCode::state, state.plan->program().entry, "the pass is not bound to a batch");
  }
  while (state.next < steps.size()) {
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
    const bool limited = deadline < 1e300 && state.next < steps.size();
    if (limited && !step.op->is_view() && clock_seconds() >= deadline) return false;
  }
  return true;
}

bool Execution::done() const {
  return state_->next >= state_->plan->steps().size();
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
  std::vector<Axis> tagged(tensor.shape().axes().begin(), tensor.shape().axes().end());
  for (Axis& axis : tagged) {
    if (axis.identity == 0 || axis.identity >= AxisRows::kFirstIdentity) continue;
    axis.identity = axes.rows(axis.identity).identity;
  }
  return tensor.with_shape(Shape(std::move(tagged)));
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
