#include "engine/program/pass.h"

#include <algorithm>

#include "engine/base/long_work.h"

namespace perilune {

Value Value::of(Tensor tensor) {
  Value value;
  value.spec = tensor.spec();
  value.tensor = std::move(tensor);
  return value;
}

void Pass::expect_own(const Value& value, std::string_view op) const {
  const bool foreign = value.pass != nullptr && value.pass.get() != this;
  if (foreign || (value.symbolic() && !tracing())) {
    throw Error(ErrorCode::state, std::string(op), "a tensor of another pass was used")
        .operand("x", value.spec.text())
        .where(script_place)
        .hint("use it in its own pass; what other passes made comes as an input of this one");
  }
  if (value.symbolic() || value.tensor.defined() || value.spec.without_storage) return;
  throw Error(ErrorCode::state, std::string(op), "a tensor without values was used")
      .operand("x", value.spec.text())
      .where(script_place);
}

// ---------------------------------------------------------------- tracing

TracePass::TracePass(std::shared_ptr<Context> context, std::string entry)
    : context_(std::move(context)), program_(std::make_shared<Program>()) {
  program_->entry = std::move(entry);
  add_axis("token", "batch");
}

AxisIdentity TracePass::add_axis(const std::string& name, const std::string& source) {
  program_->axes.push_back({name, source});
  return program_->axes.size();
}

void TracePass::expect_open(const std::string& what) const {
  if (program_ != nullptr) return;
  throw Error(ErrorCode::state, what, "the pass this tensor belongs to has been traced already")
      .hint("values of a pass cannot be kept after it");
}

int TracePass::add_value(ProgramValue value) {
  program_->values.push_back(std::move(value));
  return static_cast<int>(program_->values.size()) - 1;
}

int TracePass::as_id(const Value& value) {
  expect_own(value, "trace");
  if (value.symbolic()) return value.id;
  ProgramValue constant;
  constant.spec = value.spec;
  constant.constant = value.tensor;
  return add_value(std::move(constant));
}

Value TracePass::as_value(int id) {
  Value value;
  value.spec = program_->values[static_cast<std::size_t>(id)].spec;
  value.id = id;
  value.pass = shared_from_this();
  return value;
}

std::vector<Value> TracePass::apply(const OpPointer& op, std::vector<Value> inputs,
                                    const std::string& where, const std::string& module) {
  expect_open(std::string(op->name()));
  try {
    std::vector<TensorSpec> outputs = op->infer(specs_of(inputs));
    ProgramNode node{op, {}, {}, where, module};
    for (const Value& input : inputs) node.inputs.push_back(as_id(input));
    std::vector<Value> values;
    for (TensorSpec& spec : outputs) {
      ProgramValue value;
      value.spec = std::move(spec);
      value.producer = static_cast<int>(program_->nodes.size());
      node.outputs.push_back(add_value(std::move(value)));
      values.push_back(as_value(node.outputs.back()));
    }
    program_->nodes.push_back(std::move(node));
    return values;
  } catch (Error& error) {
    error.where(where);
    throw;
  }
}

Value TracePass::mark(const std::string& path, Value value) {
  expect_open("mark");
  if (!marked_.insert(path).second) {
    throw Error(ErrorCode::argument, "mark", "\"" + path + "\" is marked twice in this pass")
        .where(script_place);
  }
  const int id = as_id(value);
  program_->marks.emplace_back(path, id);
  return as_value(id);
}

Value TracePass::mark_lazily(const std::string& path, const OpPointer& op,
                             std::vector<Value> inputs, const std::string& where) {
  expect_open("mark");
  if (!marked_.insert(path).second) {
    throw Error(ErrorCode::argument, "mark", "\"" + path + "\" is marked twice in this pass")
        .where(where);
  }
  LazyMark mark;
  mark.path = path;
  mark.spec = op->infer(specs_of(inputs)).front();
  mark.node.op = op;
  mark.node.where = where;
  for (const Value& input : inputs) mark.node.inputs.push_back(as_id(input));
  mark.after_node = program_->nodes.size();
  mark.after_mark = program_->marks.size();
  program_->lazy_marks.push_back(std::move(mark));
  return {};
}

void TracePass::expect_input(const std::string& name, DType dtype, const std::string& ragged_axis,
                             const std::vector<Axis>& axes) {
  expect_open("input");
  // Pictures are one entry a row: over the axis that select and mean give.
  const bool of_rows = ragged_axis == "batch" && input_form(name) != nullptr;
  const AxisIdentity rows = of_rows ? new_axis("batch") : add_axis(ragged_axis, name);
  std::vector<Axis> all{{ragged_axis, kSymbolicSize, rows}};
  all.insert(all.end(), axes.begin(), axes.end());
  ProgramValue value;
  value.spec = {dtype, Shape(all), false};
  value.input = name;
  inputs_[name] = add_value(std::move(value));
}

Value TracePass::input(const std::string& name) {
  expect_open("input");
  const auto found = inputs_.find(name);
  if (found != inputs_.end()) return as_value(found->second);
  const InputForm* form = input_form(name);
  if (form == nullptr) {
    std::string known = "it has ids, positions, type_ids, features and pixels";
    for (const auto& [other, id] : inputs_) {
      if (input_form(other) == nullptr) known += ", and " + other;
    }
    throw Error(ErrorCode::argument, "input", "this pass has no input \"" + name + "\"")
        .where(script_place)
        .hint(known);
  }
  if (form->own_axis) {
    std::vector<Axis> axes;
    for (const std::string& axis : form->axes) {
      const auto size = axis_sizes.find(axis);
      if (size == axis_sizes.end()) {
        std::string problem = "\"";
        problem.append(name).append("\" needs the size of axis \"").append(axis).append("\"");
        throw Error(ErrorCode::argument, "input", problem)
            .where(script_place)
            .hint("the family's config declares the sizes of axes in c.axes");
      }
      axes.push_back({axis, size->second, 0});
    }
    expect_input(name, form->dtype, form->ragged_axis, axes);
    return as_value(inputs_[name]);
  }
  ProgramValue value;
  value.spec = {form->dtype, Shape({Axis{form->ragged_axis, kSymbolicSize, 1}}), false};
  value.input = name;
  return as_value(inputs_[name] = add_value(std::move(value)));
}

void TracePass::set_default_rows(RowSelection rows) {
  expect_open("wanted");
  program_->default_rows = rows;
}

AxisIdentity TracePass::new_axis(const std::string& name) {
  expect_open("axis");
  if (name != "batch" && name != "wanted") return add_axis(name, "");
  const auto found = shared_axes_.find(name);
  if (found != shared_axes_.end()) return found->second;
  const bool batch = name == "batch";
  return shared_axes_[name] = add_axis(batch ? "batch" : "token", name);
}

void TracePass::declare_kv(const KvSlotSpec& spec) {
  expect_open("cached");
  for (const KvSlotSpec& known : program_->kv_slots) {
    if (known.path != spec.path || known.kind != spec.kind) continue;
    throw Error(ErrorCode::argument, "cached",
                "\"" + spec.path + "\" keeps keys and values twice in this pass")
        .where(script_place)
        .hint("give each attention its own net:scope");
  }
  program_->kv_slots.push_back(spec);
}

void TracePass::output(const std::string& name, const Value& value) {
  expect_open("output");
  program_->outputs.emplace_back(name, as_id(value));
}

std::shared_ptr<const Program> TracePass::finish(const std::string& head) {
  expect_open("trace");
  program_->head = head;
  program_->find_length_tables();
  return std::exchange(program_, nullptr);
}

// ---------------------------------------------------------------- eager

EagerPass::EagerPass(std::shared_ptr<PassBinding> binding, EagerOptions options)
    : binding_(std::move(binding)), options_(std::move(options)), axes_(binding_.get()) {}

/// As a plan places it: with its keys and values, where the map has its module, where what it reads
/// was made, else on the pass' own device.
std::shared_ptr<Device> EagerPass::device_of(const Op& op, const std::vector<Value>& inputs,
                                             const std::string& module) const {
  if (options_.devices.empty()) return options_.device;
  const auto made = std::find_if(inputs.begin(), inputs.end(), [](const Value& input) {
    return input.pass != nullptr && input.tensor.defined();
  });
  if (op.is_view() && made != inputs.end()) return made->tensor.storage()->device();
  const std::optional<KvUse> use = op.kv_use();
  if (auto own = device_of_path(options_.devices, use ? use->path : module)) return own;
  return use || made == inputs.end() ? options_.device : made->tensor.storage()->device();
}

std::vector<Tensor> EagerPass::run(const Op& op, const std::vector<Value>& inputs,
                                   const std::string& module) {
  const std::shared_ptr<Device> device = device_of(op, inputs, module);
  std::vector<Tensor> tensors;
  for (const Value& input : inputs) {
    expect_own(input, op.name());
    // Stored tensors and constants of scripts come to the op's device, as a plan's do, and stay
    // there; what the pass made crosses each time.
    const bool stays = device == nullptr || !input.tensor.defined();
    tensors.push_back(stays                   ? input.tensor
                      : input.pass != nullptr ? input.tensor.to(device)
                                              : input.tensor.on(*device));
  }
  std::vector<Tensor> results = execute_op(
      context(), op, specs_of(inputs), tensors,
      {binding_.get(), options_.math, options_.cache_dtype, &axes_, &tables_, options_.threads});
  for (const AxisIdentity made : op.made_axes()) binding_->add_made_rows(axes_.rows(made));
  return results;
}

std::vector<Value> EagerPass::apply(const OpPointer& op, std::vector<Value> inputs,
                                    const std::string& where, const std::string& module) {
  tell_long_work("pass");
  if (context()->interrupted()) {
    throw Error(ErrorCode::cancelled, std::string(op->name()), "interrupted").where(where);
  }
  try {
    std::vector<Value> values;
    for (Tensor& tensor : run(*op, inputs, module)) {
      Value value;
      if (tensor.defined()) value = Value::of(std::move(tensor));
      value.spec.without_storage = !value.tensor.defined();
      value.pass = shared_from_this();
      values.push_back(std::move(value));
    }
    return values;
  } catch (Error& error) {
    error.where(where);
    throw;
  }
}

/// What the hook puts in the place of a value; undefined where it does not.
Tensor EagerPass::hooked(const std::string& path, const Value& value) const {
  if (!options_.hook) return {};
  const Tensor changed = options_.hook(path, value.tensor);
  if (!changed.defined()) return {};
  // Whose rows it has does not matter: it stands in the place of what was given.
  if (changed.spec().text() != value.spec.text()) {
    throw Error(ErrorCode::shape, "hook", "\"" + path + "\" came back in another form")
        .operand("given", value.spec.text())
        .operand("returned", changed.spec().text())
        .where(script_place);
  }
  return changed.with_shape(value.spec.shape).to(value.tensor.storage()->device());
}

Value EagerPass::mark(const std::string& path, Value value) {
  expect_own(value, "mark");
  if (Tensor changed = hooked(path, value); changed.defined()) value.tensor = std::move(changed);
  if (options_.keep.count(path) != 0) kept_.emplace_back(path, value.tensor);
  value.pass = shared_from_this();
  return value;
}

Value EagerPass::mark_lazily(const std::string& path, const OpPointer& op,
                             std::vector<Value> inputs, const std::string& where) {
  const bool seen = options_.hook && options_.looked_at.count(path) != 0;
  if (!seen && options_.keep.count(path) == 0) return {};
  Value value = apply(op, std::move(inputs), where).front();
  Tensor changed = seen ? hooked(path, value) : Tensor();
  // What is given back as it was has changed nothing, to the bit.
  if (changed.defined() && changed.to_floats() == value.tensor.to_floats()) changed = {};
  if (changed.defined()) value.tensor = changed;
  if (options_.keep.count(path) != 0) kept_.emplace_back(path, value.tensor);
  return changed.defined() ? value : Value();
}

Value EagerPass::input(const std::string& name) {
  Tensor tensor = binding_->input(name);
  if (!tensor.defined()) {
    throw Error(ErrorCode::argument, "input", "this pass has no input \"" + name + "\"")
        .where(script_place);
  }
  if (options_.device != nullptr) tensor = tensor.to(options_.device);
  Value value = Value::of(std::move(tensor));
  value.pass = shared_from_this();
  return value;
}

AxisIdentity EagerPass::new_axis(const std::string& name) {
  const Batch& batch = binding_->batch();
  if (name == "batch") {
    const AxisIdentity identity = batch.batch_identity();
    axes_.set(identity, RaggedRows::from_lengths(
                            "batch", identity,
                            std::vector<std::int64_t>(static_cast<std::size_t>(batch.size()), 1)));
    return identity;
  }
  if (name == "wanted" && binding_->wanted_identity() != 0) return binding_->wanted_identity();
  const AxisIdentity identity = context()->new_identity();
  axes_.set(identity, RaggedRows{name == "wanted" ? "token" : name, identity, {0}});
  return identity;
}

void EagerPass::declare_kv(const KvSlotSpec& spec) {
  if (declared_.insert({spec.path, spec.kind}).second) return;
  throw Error(ErrorCode::argument, "cached",
              "\"" + spec.path + "\" keeps keys and values twice in this pass")
      .where(script_place)
      .hint("give each attention its own net:scope");
}

const std::shared_ptr<Context>& EagerPass::context() const {
  return binding_->context();
}

}  // namespace perilune
