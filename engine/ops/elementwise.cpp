#include "engine/ops/elementwise.h"

#include <cmath>

#include "engine/base/number_text.h"
#include "engine/ops/bound_call.h"

#include "engine/tensor/axis_sizes.h"
#include "engine/tensor/copy_parts.h"

namespace perilune {

namespace {

const char* binary_name(kernels::Binary op) {
  using enum kernels::Binary;
  switch (op) {
    case add: return "add";
    case subtract: return "subtract";
    case multiply: return "multiply";
    case divide: return "divide";
    case minimum: return "minimum";
    case maximum: return "maximum";
    case power: return "power";
    case less: return "lt";
    case less_equal: return "le";
    case greater: return "gt";
    case greater_equal: return "ge";
    case equal: return "eq";
    case not_equal: return "ne";
    case logical_and: return "and";
    case logical_or: return "or";
  }
  return "?";
}

const char* unary_name(kernels::Unary op) {
  using enum kernels::Unary;
  switch (op) {
    case exp: return "exp";
    case log: return "log";
    case sqrt: return "sqrt";
    case tanh: return "tanh";
    case abs: return "abs";
    case negate: return "negate";
    case gelu: return "gelu";
    case gelu_tanh: return "gelu_tanh";
    case quick_gelu: return "quick_gelu";
    case relu: return "relu";
    case silu: return "silu";
    case sigmoid: return "sigmoid";
    case erf: return "erf";
    case reciprocal: return "reciprocal";
    case floor: return "floor";
    case is_nan: return "is_nan";
    case is_inf: return "is_inf";
    case logical_not: return "not";
  }
  return "?";
}

bool is_comparison(kernels::Binary op) {
  return op >= kernels::Binary::less && op <= kernels::Binary::logical_or;
}

bool makes_float(kernels::Binary op) {
  return op == kernels::Binary::divide || op == kernels::Binary::power;
}

void expect_stored(std::string_view op, const TensorSpec& spec) {
  if (!spec.without_storage) return;
  throw Error(ErrorCode::argument, std::string(op), "kept keys and values are not a tensor")
      .hint("hand them to net:attention");
}

}  // namespace

const char* activation_name(kernels::Activation activation) {
  using enum kernels::Activation;
  switch (activation) {
    case none: return "none";
    case gelu: return "gelu";
    case gelu_tanh: return "gelu_tanh";
    case quick_gelu: return "quick_gelu";
    case relu: return "relu";
    case silu: return "silu";
    case tanh: return "tanh";
    case sigmoid: return "sigmoid";
    case gelu_10: return "gelu_10";
    case relu2: return "relu2";
    case relu6: return "relu6";
    case leaky_relu: return "leaky_relu";
    case mish: return "mish";
    case laplace: return "laplace";
  }
  return "?";
}

DType binary_dtype(kernels::Binary op, DType a, DType b) {
  if (is_comparison(op)) return DType::boolean;
  if (is_float(a) || is_float(b)) return a == b ? a : DType::f32;
  if (makes_float(op)) return DType::f32;
  if (a == b && a != DType::boolean) return a;
  if (a == DType::boolean && b != DType::boolean) return b;
  if (b == DType::boolean && a != DType::boolean) return a;
  return DType::i64;
}

kernels::Strided broadcast_strides(const Tensor& tensor, const Shape& to) {
  kernels::Strided result{tensor.data(), tensor.dtype(), {}};
  for (int i = 0; i < to.rank(); ++i) {
    const int own = tensor.shape().find(to.axis(i).name);
    const bool walks = own >= 0 && tensor.shape().size(own) != 1;
    result.strides[i] = walks ? tensor.strides()[static_cast<std::size_t>(own)] : 0;
  }
  return result;
}

void copy_into(const kernels::KernelTable& kernels, const kernels::Launch& launch,
               const Tensor& out, const Tensor& x) {
  if (out.elements() == 0) return;
  kernels::CopyArguments arguments{};
  arguments.out = strided(out);
  arguments.x = broadcast_strides(x, out.shape());
  arguments.rank = fill_sizes(out.shape(), arguments.sizes);
  copy_in_parts(kernels, launch, arguments);
}

// ---------------------------------------------------------------- binary

std::string_view BinaryOp::name() const {
  return binary_name(op_);
}

std::vector<TensorSpec> BinaryOp::infer(std::span<const TensorSpec> inputs) const {
  expect_inputs(name(), inputs, 2);
  expect_stored(name(), inputs[0]);
  expect_stored(name(), inputs[1]);
  return {{binary_dtype(op_, inputs[0].dtype, inputs[1].dtype),
           align(name(), inputs[0].shape, inputs[1].shape), false}};
}

void BinaryOp::run(OpRun& run) const {
  const Tensor& out = run.outputs[0];
  if (out.elements() == 0) return;
  kernels::BinaryArguments arguments{};
  arguments.op = op_;
  arguments.out = strided(out);
  arguments.a = broadcast_strides(run.inputs[0], out.shape());
  arguments.b = broadcast_strides(run.inputs[1], out.shape());
  arguments.rank = fill_sizes(out.shape(), arguments.sizes);
  run.kernels().binary(run.launch, arguments);
}

// ---------------------------------------------------------------- with a number

std::string_view ScalarOp::name() const {
  return binary_name(op_);
}

bool ScalarOp::whole() const {
  return std::floor(number_) == number_ && std::fabs(number_) < 9007199254740992.0;
}

std::vector<TensorSpec> ScalarOp::infer(std::span<const TensorSpec> inputs) const {
  expect_inputs(name(), inputs, 1);
  expect_stored(name(), inputs[0]);
  const DType dtype = inputs[0].dtype;
  const bool integer = !is_float(dtype);
  DType result = dtype;
  if (is_comparison(op_)) {
    result = DType::boolean;
  } else if (integer && (makes_float(op_) || !whole())) {
    result = DType::f32;
  } else if (dtype == DType::boolean) {
    result = DType::i64;
  }
  return {{result, inputs[0].shape, false}};
}

// The number goes with the call: where a device runs it later, from a graph, nothing of this call
// is left to be read.
void ScalarOp::run(OpRun& run) const {
  const Tensor& out = run.outputs[0];
  if (out.elements() == 0) return;
  const bool counts = !is_float(run.inputs[0].dtype()) && !makes_float(op_) && whole();
  const kernels::Strided constant{nullptr, counts ? DType::i64 : DType::f32, {}};
  kernels::BinaryArguments arguments{};
  arguments.op = op_;
  arguments.out = strided(out);
  arguments.rank = fill_sizes(out.shape(), arguments.sizes);
  const kernels::Strided x = strided(run.inputs[0]);
  arguments.a = reversed_ ? constant : x;
  arguments.b = reversed_ ? x : constant;
  arguments.number = number_;
  run.kernels().binary(run.launch, arguments);
}

std::string ScalarOp::describe() const {
  return std::string(binary_name(op_)) + (reversed_ ? " from " : " ") + number_text(number_, 6);
}

// ---------------------------------------------------------------- unary, activations

std::string_view UnaryOp::name() const {
  return unary_name(op_);
}

std::vector<TensorSpec> UnaryOp::infer(std::span<const TensorSpec> inputs) const {
  expect_inputs(name(), inputs, 1);
  expect_stored(name(), inputs[0]);
  using enum kernels::Unary;
  DType dtype = DType::f32;
  if (op_ == is_nan || op_ == is_inf || op_ == logical_not) {
    dtype = DType::boolean;
  } else if (op_ == abs || op_ == negate || op_ == floor) {
    dtype = inputs[0].dtype == DType::boolean ? DType::i64 : inputs[0].dtype;
  } else if (is_float(inputs[0].dtype)) {
    dtype = inputs[0].dtype;
  }
  return {{dtype, inputs[0].shape, false}};
}

void UnaryOp::run(OpRun& run) const {
  const Tensor& out = run.outputs[0];
  if (out.elements() == 0) return;
  kernels::UnaryArguments arguments{};
  arguments.op = op_;
  arguments.out = strided(out);
  arguments.x = strided(run.inputs[0]);
  arguments.rank = fill_sizes(out.shape(), arguments.sizes);
  run.kernels().unary(run.launch, arguments);
}

std::vector<TensorSpec> ActivationOp::infer(std::span<const TensorSpec> inputs) const {
  expect_inputs(name(), inputs, 1);
  expect_stored(name(), inputs[0]);
  expect_f32(name(), "x", inputs[0]);
  return {inputs[0]};
}

std::size_t ActivationOp::scratch_bytes(const OpRun& run) const {
  return contiguous_scratch(run.inputs[0]);
}

// Through the gated kernel, whose bits are those of the fused forms on every tier.
void ActivationOp::run(OpRun& run) const {
  const std::int64_t count = run.outputs[0].elements();
  if (count == 0) return;
  ScratchCursor scratch(run.launch.scratch);
  const auto* x = static_cast<const float*>(contiguous_input(run, run.inputs[0], scratch));
  run.kernels().gated(run.launch, {run.outputs[0].as<float>(), x, nullptr, count, activation_});
}

void ActivationOp::bind_call(const OpRun& run, BoundCall& call) const {
  const std::int64_t count = run.outputs[0].elements();
  if (count == 0 || scratch_bytes(run) != 0) return;
  call.call = kernels::GatedArguments{run.outputs[0].as<float>(), run.inputs[0].as<float>(),
                                      nullptr, count, activation_};
}

std::string ActivationOp::describe() const {
  return activation_name(activation_);
}

std::vector<TensorSpec> GatedOp::infer(std::span<const TensorSpec> inputs) const {
  expect_inputs(name(), inputs, 2);
  expect_f32(name(), "a", inputs[0]);
  expect_f32(name(), "b", inputs[1]);
  if (inputs[0].shape != inputs[1].shape) {
    throw Error(ErrorCode::shape, "gated", "shapes differ")
        .operand("a", inputs[0].text())
        .operand("b", inputs[1].text());
  }
  return {inputs[0]};
}

std::size_t GatedOp::scratch_bytes(const OpRun& run) const {
  return contiguous_scratch(run.inputs[0]) + contiguous_scratch(run.inputs[1]);
}

void GatedOp::run(OpRun& run) const {
  const std::int64_t count = run.outputs[0].elements();
  if (count == 0) return;
  ScratchCursor scratch(run.launch.scratch);
  const auto* a = static_cast<const float*>(contiguous_input(run, run.inputs[0], scratch));
  const auto* b = static_cast<const float*>(contiguous_input(run, run.inputs[1], scratch));
  run.kernels().gated(run.launch, {run.outputs[0].as<float>(), a, b, count, activation_});
}

void GatedOp::bind_call(const OpRun& run, BoundCall& call) const {
  const std::int64_t count = run.outputs[0].elements();
  if (count == 0 || scratch_bytes(run) != 0) return;
  call.call = kernels::GatedArguments{run.outputs[0].as<float>(), run.inputs[0].as<float>(),
                                      run.inputs[1].as<float>(), count, activation_};
}

std::string GatedOp::describe() const {
  return std::string("gated ") + activation_name(activation_);
}

// ---------------------------------------------------------------- where, copies

std::vector<TensorSpec> WhereOp::infer(std::span<const TensorSpec> inputs) const {
  expect_inputs(name(), inputs, 3);
  if (inputs[0].dtype != DType::boolean) {
    throw Error(ErrorCode::dtype, "where", "the condition must be bool")
        .operand("condition", inputs[0].text())
        .hint("compare first: mask:gt(0)");
  }
  const Shape values = align(name(), inputs[1].shape, inputs[2].shape);
  return {{binary_dtype(kernels::Binary::add, inputs[1].dtype, inputs[2].dtype),
           align(name(), inputs[0].shape, values), false}};
}

void WhereOp::run(OpRun& run) const {
  const Tensor& out = run.outputs[0];
  if (out.elements() == 0) return;
  kernels::WhereArguments arguments{};
  arguments.out = strided(out);
  arguments.condition = broadcast_strides(run.inputs[0], out.shape());
  arguments.a = broadcast_strides(run.inputs[1], out.shape());
  arguments.b = broadcast_strides(run.inputs[2], out.shape());
  arguments.rank = fill_sizes(out.shape(), arguments.sizes);
  run.kernels().where(run.launch, arguments);
}

std::vector<TensorSpec> CopyOp::infer(std::span<const TensorSpec> inputs) const {
  expect_inputs(name(), inputs, 1);
  expect_stored(name(), inputs[0]);
  return {{dtype_.value_or(inputs[0].dtype), inputs[0].shape, false}};
}

void CopyOp::run(OpRun& run) const {
  copy_into(run.kernels(), run.launch, run.outputs[0], run.inputs[0]);
}

}  // namespace perilune
