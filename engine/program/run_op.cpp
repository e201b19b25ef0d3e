// One op on real tensors: for eager passes, and for tensors of scripts.
#include "engine/program/pass.h"

namespace perilune {

std::vector<TensorSpec> specs_of(const std::vector<Value>& values) {
  std::vector<TensorSpec> specs;
  specs.reserve(values.size());
  for (const Value& value : values) specs.push_back(value.spec);
  return specs;
}

namespace {

void expect_same_device(const Op& op, const std::vector<Tensor>& inputs) {
  const Tensor* first = nullptr;
  for (const Tensor& input : inputs) {
    if (!input.defined()) continue;
    if (first == nullptr) first = &input;
    if (&first->device() == &input.device()) continue;
    throw Error(ErrorCode::device, std::string(op.name()), "tensors are on different devices")
        .operand("a", first->describe())
        .operand("b", input.describe())
        .hint("move one with :to(\"" + first->device().name() + "\")");
  }
}

}  // namespace

std::vector<Tensor> execute_op(const std::shared_ptr<Context>& context, const Op& op,
                               const std::vector<TensorSpec>& specs,
                               const std::vector<Tensor>& inputs, const OpSetting& setting) {
  std::vector<TensorSpec> outputs = op.infer(specs);
  expect_same_device(op, inputs);
  if (op.is_view()) return {*op.view(inputs)};
  AxisRows none(setting.binding);
  AxisRows& axes = setting.axes != nullptr ? *setting.axes : none;
  const std::vector<AxisIdentity> made = op.made_axes();
  if (!made.empty() && setting.binding != nullptr) {
    const std::vector<RaggedRows> rows = op.bind_axes(specs, *setting.binding, axes);
    for (std::size_t i = 0; i < made.size(); ++i) axes.set(made[i], rows[i]);
  }
  std::shared_ptr<Device> device = context->cpu_device();
  for (const Tensor& input : inputs) {
    if (input.defined()) device = input.storage()->device();
  }
  expect_device(op, specs, *device, "");
  std::vector<Tensor> results;
  results.reserve(outputs.size());
  for (const TensorSpec& spec : outputs) {
    results.push_back(spec.without_storage ? Tensor()
                                           : Tensor::make(context, spec.dtype,
                                                          axes.resolve(spec.shape, false), device));
  }
  RunTables own_tables;
  const OpConstants constants = resolve_constants(op, *device, setting.math);
  OpRun run{*context,
            *device,
            device->launch(),
            inputs,
            results,
            setting.binding,
            setting.math,
            setting.cache_dtype,
            &axes,
            setting.tables != nullptr ? setting.tables : &own_tables,
            &constants};
  use_threads(run.launch, *device, setting.threads);
  std::unique_ptr<Storage> scratch;
  if (const std::size_t bytes = op.scratch_bytes(run); bytes > 0) {
    scratch = std::make_unique<Storage>(context, device, bytes);
    run.launch.scratch = scratch->data();
  }
  op.run(run);
  return results;
}

std::vector<Value> apply_op(const OpPointer& op, std::vector<Value> inputs,
                            const std::string& where) {
  std::shared_ptr<Pass> pass;
  for (const Value& input : inputs) {
    if (input.pass == nullptr || (pass != nullptr && !input.symbolic())) continue;
    pass = input.pass;
  }
  if (pass != nullptr) return pass->apply(op, std::move(inputs), where);
  try {
    std::vector<Tensor> tensors;
    tensors.reserve(inputs.size());
    for (const Value& input : inputs) tensors.push_back(input.tensor);
    std::vector<Value> values;
    for (Tensor& tensor :
         execute_op(tensors.front().context(), *op, specs_of(inputs), tensors, {})) {
      values.push_back(Value::of(std::move(tensor)));
    }
    return values;
  } catch (Error& error) {
    error.where(where);
    throw;
  }
}

Tensor run_op(const Op& op, std::vector<Tensor> inputs, const PassBinding* binding) {
  std::vector<TensorSpec> specs;
  specs.reserve(inputs.size());
  for (const Tensor& input : inputs) specs.push_back(input.spec());
  OpSetting setting;
  setting.binding = binding;
  return execute_op(inputs.front().context(), op, specs, inputs, setting).front();
}

}  // namespace perilune
