#include "engine/ops/norm.h"

#include "engine/ops/bound_call.h"

namespace perilune {

std::vector<TensorSpec> NormOp::infer(std::span<const TensorSpec> inputs) const {
  expect_inputs(name(), inputs, residual_ ? 2 : 1);
  for (const TensorSpec& input : inputs) expect_f32(name(), "x", input);
  const Shape& shape = inputs[0].shape;
  const int first = shape.rank() - trailing();
  std::int64_t width = first < 0 ? -1 : 1;
  for (int i = std::max(first, 0); i < shape.rank(); ++i) {
    if (!options_.over.empty() &&
        shape.axis(i).name != options_.over[static_cast<std::size_t>(i - std::max(first, 0))]) {
      throw Error(ErrorCode::shape, std::string(name()), "normalised axes must be x's last ones")
          .operand("x", inputs[0].text());
    }
    width *= shape.size(i);
  }
  if (options_.weight.defined() && options_.weight.elements() != width) {
    throw Error(ErrorCode::shape, std::string(name()), "the weight has another size")
        .operand("x", inputs[0].text())
        .operand("weight", options_.path + " " + options_.weight.spec().text() + " " +
                               versus(width, options_.weight.elements()));
  }
  if (residual_ && inputs[0].shape != inputs[1].shape) {
    throw Error(ErrorCode::shape, std::string(name()), "x and residual differ")
        .operand("x", inputs[0].text())
        .operand("residual", inputs[1].text());
  }
  return std::vector<TensorSpec>(residual_ ? 2 : 1, inputs[0]);
}

std::size_t NormOp::scratch_bytes(const OpRun& run) const {
  if (!residual_ && row_view(run.inputs[0], trailing())) return 0;
  std::size_t bytes = 0;
  for (const Tensor& input : run.inputs) bytes += contiguous_scratch(input);
  return bytes;
}

kernels::NormArguments NormOp::arguments(const OpRun& run, ScratchCursor& scratch) const {
  const Tensor& x = run.inputs[0];
  kernels::NormArguments arguments{};
  arguments.width = options_.weight.elements();
  arguments.rows = x.elements() / arguments.width;
  arguments.out = run.outputs[0].as<float>();
  arguments.out_stride = arguments.width;
  const std::optional<RowView> view = residual_ ? std::nullopt : row_view(x, trailing());
  arguments.x_stride = view ? view->stride : arguments.width;
  arguments.x = view ? x.as<float>() : static_cast<const float*>(contiguous_input(run, x, scratch));
  const std::vector<Tensor>& constants = run.constants->tensors;
  arguments.weight = constants[0].as<float>();
  arguments.bias = constants[1].defined() ? constants[1].as<float>() : nullptr;
  arguments.offset = options_.offset;
  arguments.epsilon = static_cast<float>(options_.epsilon);
  if (residual_) {
    arguments.residual = static_cast<const float*>(contiguous_input(run, run.inputs[1], scratch));
    arguments.sum = run.outputs[1].as<float>();
  }
  return arguments;
}

void NormOp::run(OpRun& run) const {
  if (run.inputs[0].elements() == 0) return;
  ScratchCursor scratch(run.launch.scratch);
  const kernels::NormArguments norm = arguments(run, scratch);
  const auto& kernels = run.kernels();
  (options_.layer ? kernels.layer_norm : kernels.rms_norm)(run.launch, norm);
}

void NormOp::bind_call(const OpRun& run, BoundCall& call) const {
  if (run.inputs[0].elements() == 0 || scratch_bytes(run) != 0) return;
  ScratchCursor none(nullptr);
  call.call = BoundCall::Norm{arguments(run, none), options_.layer};
}

std::string NormOp::describe() const {
  return std::string(name()) + " " + options_.path + (residual_ ? " of a sum" : "");
}

}  // namespace perilune
