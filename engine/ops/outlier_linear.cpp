#include "engine/ops/outlier_linear.h"

#include <algorithm>
#include <cmath>

namespace perilune {

/// Where a run's two inputs and the sums of what is apart lie.
struct OutlierLinearOp::Sides {
  const float* x = nullptr;                 // [row, input]
  float *rest = nullptr, *apart = nullptr;  // [row, input]
  float* sums = nullptr;                    // [row, output]
  std::uint8_t* columns = nullptr;          // [input]: 1 where it is apart
  std::int64_t rows = 0, inputs = 0, outputs = 0;
  void* kernel = nullptr;  // scratch
  std::size_t used = 0;
};

OutlierLinearOp::Sides OutlierLinearOp::sides(const OpRun& run, void* scratch) const {
  const Weight& weight = *linear_.parts()[0].weight;
  const Tensor& x = run.inputs[0];
  ScratchCursor cursor(scratch);
  Sides to;
  to.inputs = weight.inputs();
  to.outputs = weight.outputs();
  to.rows = to.inputs == 0 ? 0 : x.elements() / to.inputs;
  if (scratch == nullptr) {
    cursor.take<std::uint8_t>(static_cast<std::int64_t>(contiguous_scratch(x)));
  } else {
    to.x = static_cast<const float*>(contiguous_input(run, x, cursor));
  }
  to.rest = cursor.take<float>(to.rows * to.inputs);
  to.apart = cursor.take<float>(to.rows * to.inputs);
  to.sums = cursor.take<float>(to.rows * to.outputs);
  to.columns = cursor.take<std::uint8_t>(to.inputs);
  to.kernel = cursor.rest();
  to.used = cursor.used();
  return to;
}

kernels::LinearArguments OutlierLinearOp::product(const OpRun& run, kernels::MathMode math,
                                                  const float* x, std::int64_t rows,
                                                  kernels::LinearSegment& segment) const {
  segment.weight = run.constants->weights[0];
  segment.weight.math = math;
  segment.bias = nullptr;
  segment.activation = kernels::Activation::none;
  segment.out_stride = segment.weight.outputs;
  kernels::LinearArguments arguments{};
  arguments.x = x;
  arguments.x_stride = arguments.inputs = segment.weight.inputs;
  arguments.rows = rows;
  arguments.math = math;
  arguments.scale = 1;
  arguments.segments = &segment;
  arguments.segment_count = 1;
  arguments.input_order = segment.weight.input_order;
  return arguments;
}

std::size_t OutlierLinearOp::scratch_bytes(const OpRun& run) const {
  const std::size_t whole = linear_.scratch_bytes(run);
  if (run.constants->weights[0].math != kernels::MathMode::int8) return whole;
  const Sides own = sides(run, nullptr);
  std::size_t most = 0;
  for (const kernels::MathMode math : {kernels::MathMode::int8, kernels::MathMode::f32}) {
    kernels::LinearSegment segment{};
    const auto arguments = product(run, math, own.rest, own.rows, segment);
    most = std::max(most, run.kernels().linear_scratch(arguments, run.launch.parallel.threads));
  }
  return std::max(whole, own.used + most);
}

/// Whether there is anything apart; NaN stays where it is, and makes its row NaN there.
bool OutlierLinearOp::split(const float* x, const Sides& to) const {
  std::fill_n(to.columns, to.inputs, std::uint8_t{0});
  for (std::int64_t r = 0; r < to.rows; ++r)
    for (std::int64_t k = 0; k < to.inputs; ++k)
      if (std::fabs(x[r * to.inputs + k]) >= from_) to.columns[k] = 1;
  if (std::count(to.columns, to.columns + to.inputs, 1) == 0) return false;
  for (std::int64_t r = 0; r < to.rows; ++r)
    for (std::int64_t k = 0; k < to.inputs; ++k) {
      const std::int64_t at = r * to.inputs + k;
      to.rest[at] = to.columns[k] != 0 ? 0.0f : x[at];
      to.apart[at] = to.columns[k] != 0 ? x[at] : 0.0f;
    }
  return true;
}

void OutlierLinearOp::join(const OpRun& run, const Sides& from) const {
  const Tensor& bias = run.constants->tensors[0];
  const float* added = bias.defined() ? bias.as<float>() : nullptr;
  const auto scale = static_cast<float>(linear_.scale());
  auto* out = run.outputs[0].as<float>();
  for (std::int64_t r = 0; r < from.rows; ++r)
    for (std::int64_t o = 0; o < from.outputs; ++o) {
      const std::int64_t at = r * from.outputs + o;
      const float sum = (out[at] + from.sums[at]) * scale;
      out[at] = added != nullptr ? sum + added[o] : sum;
    }
}

void OutlierLinearOp::run(OpRun& run) const {
  if (run.constants->weights[0].math != kernels::MathMode::int8) return linear_.run(run);
  const Sides at = sides(run, run.launch.scratch);
  if (at.rows == 0 || !split(at.x, at)) return linear_.run(run);
  kernels::Launch launch = run.launch;
  launch.scratch = at.kernel;
  kernels::LinearSegment segment{};
  segment.out = run.outputs[0].as<float>();
  run.kernels().linear(launch, product(run, kernels::MathMode::int8, at.rest, at.rows, segment));
  segment.out = at.sums;
  run.kernels().linear(launch, product(run, kernels::MathMode::f32, at.apart, at.rows, segment));
  join(run, at);
}

std::string OutlierLinearOp::describe() const {
  return linear_.describe() + ", inputs from " + std::to_string(from_) + " apart";
}

}  // namespace perilune
