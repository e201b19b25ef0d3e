// An execution bound to a batch: sizes, buffers, operands of every step.
#include <algorithm>
#include <utility>

#include "engine/plan/execution_state.h"
#include "engine/plan/pass_rows.h"

namespace perilune {

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
    if (step.op->scratch_follows_binding()) scratch_steps.push_back(s);
    given_ids[s] =
        step.op->has_ids() && !values[static_cast<std::size_t>(step.inputs[0])].input.empty();
  }
}

/// Where keys and values of each step lie: looked up again only for another layout. Whether they
/// are elsewhere than at the last bind.
bool Execution::State::find_slots() {
  const bool before = std::exchange(cached, binding->has_caches());
  if (!cached) return before;
  const CacheLayout& given = *binding->cache_layout();
  if (layout && layout->same(given)) return !before;
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
  return true;
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

/// The most that any op needs. `all` false: sizes are those of the last bind, only ops that look
/// further are asked again.
void Execution::State::size_scratch(bool all) {
  for (std::size_t p = 0; p < places.size(); ++p) {
    std::size_t most = 0;
    const std::size_t count = all ? plan->steps().size() : scratch_steps.size();
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t s = all ? i : scratch_steps[i];
      const PlanStep& step = plan->steps()[s];
      if (step.place != p || step.op->is_view()) continue;
      try {
        most = std::max(most, step.op->scratch_bytes(op_run(s)));
      } catch (Error& error) {
        error.where(step.where);
        throw;
      }
    }
    std::unique_ptr<Storage>& scratch = places[p].scratch;
    if (most != 0 && (scratch == nullptr || scratch->bytes() < most)) {
      scratch.reset();
      scratch = std::make_unique<Storage>(plan->context(), plan->devices()[p],
                                          ScratchCursor::align(most + most / 4));
    }
    places[p].launch.scratch = scratch == nullptr ? nullptr : scratch->data();
  }
}

/// After everything has its place: what stays the same until sizes change.
void Execution::State::bind_calls() {
  kept.clear();
  for (std::size_t s = 0; s < calls.size(); ++s) {
    calls[s].call = std::monostate();
    const PlanStep& step = plan->steps()[s];
    kinds[s] = step.op->is_view() ? StepKind::view : StepKind::op;
    const bool given = std::binary_search(input_steps.begin(), input_steps.end(), s);
    if (given || step.op->is_view()) continue;
    try {
      step.op->bind_call(op_run(s), calls[s]);
    } catch (const Error&) {  // the run says what is wrong, and where
      calls[s].call = std::monostate();
    }
    if (calls[s].empty()) continue;
    calls[s].settle(kept);
    kinds[s] = StepKind::call;
  }
}

}  // namespace perilune
