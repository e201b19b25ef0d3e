#include "engine/ops/rank_ops.h"

#include <algorithm>

namespace perilune {
namespace {

std::int64_t outputs_of(const std::vector<Axis>& axes) {
  std::int64_t outputs = 1;
  for (const Axis& axis : axes) outputs *= axis.size;
  return outputs;
}

/// out = a + b, f32 [rows, columns]; `b_step` between b's rows: 0 for one row that all get.
void add(const OpRun& run, float* out, float* a, float* b, std::int64_t rows, std::int64_t columns,
         std::int64_t b_step) {
  kernels::BinaryArguments sum{};
  sum.op = kernels::Binary::add;
  sum.rank = 2;
  sum.sizes[0] = rows;
  sum.sizes[1] = columns;
  sum.out = {out, DType::f32, {columns, 1}};
  sum.a = {a, DType::f32, {columns, 1}};
  sum.b = {b, DType::f32, {b_step, 1}};
  run.kernels().binary(run.launch, sum);
}

}  // namespace

// ---------------------------------------------------------------- products

std::vector<TensorSpec> RankLinearOp::infer(std::span<const TensorSpec> inputs) const {
  expect_inputs(name(), inputs, 1);
  expect_f32(name(), "x", inputs[0]);
  const Shape& shape = inputs[0].shape;
  const int first = shape.rank() - options_.over;
  std::int64_t inner = 1, held = 0;
  for (int i = first; i < shape.rank(); ++i) inner *= shape.size(i);
  for (const auto& segment : options_.segments) held += segment->inputs();
  if (inner != held) {
    throw Error(ErrorCode::shape, std::string(name()), "inner sizes differ")
        .operand("x", inputs[0].text())
        .operand("weight", options_.path + " " + versus(inner, held));
  }
  std::vector<Axis> axes(shape.axes().begin(), shape.axes().begin() + first);
  axes.insert(axes.end(), options_.axes.begin(), options_.axes.end());
  return {{DType::f32, Shape(axes), false}};
}

kernels::LinearArguments RankLinearOp::arguments(const OpRun& run, std::size_t segment,
                                                 const float* x,
                                                 kernels::LinearSegment& out) const {
  const std::int64_t inputs = options_.segments[0]->inputs();
  kernels::LinearArguments linear{};
  linear.x_stride = inputs * static_cast<std::int64_t>(options_.segments.size());
  linear.rows = run.inputs[0].elements() / linear.x_stride;
  linear.x = x == nullptr ? nullptr : x + static_cast<std::int64_t>(segment) * inputs;
  linear.inputs = inputs;
  linear.scale = static_cast<float>(options_.scale);
  out.weight = run.constants->weights[segment];
  out.activation = kernels::Activation::none;
  out.out_stride = outputs_of(options_.axes);
  linear.math = out.weight.math;
  linear.input_order = out.weight.input_order;
  linear.segments = &out;
  linear.segment_count = 1;
  return linear;
}

std::size_t RankLinearOp::scratch_bytes(const OpRun& run) const {
  std::size_t most = 0;
  for (std::size_t s = 0; s < options_.segments.size(); ++s) {
    kernels::LinearSegment out{};
    const kernels::LinearArguments linear = arguments(run, s, nullptr, out);
    most = std::max(most, run.kernels().linear_scratch(linear, run.launch.parallel.threads));
  }
  const std::int64_t results = run.outputs[0].elements();
  ScratchCursor scratch(nullptr);
  scratch.take<float>(results * static_cast<std::int64_t>(options_.segments.size()));
  if (shared()) scratch.take<float>(results * kRankSegments);
  return contiguous_scratch(run.inputs[0]) + scratch.used() + most;
}

void RankLinearOp::run(OpRun& run) const {
  const std::int64_t results = run.outputs[0].elements();
  if (results == 0) return;
  const std::int64_t columns = outputs_of(options_.axes), rows = results / columns;
  const auto own = static_cast<std::int64_t>(options_.segments.size());
  ScratchCursor scratch(run.launch.scratch);
  const auto* x = static_cast<const float*>(contiguous_input(run, run.inputs[0], scratch));
  auto* parts = scratch.take<float>(results * own);  // [segment, row, output]
  float* all = shared() ? scratch.take<float>(results * kRankSegments) : parts;
  kernels::Launch launch = run.launch;
  launch.scratch = scratch.rest();
  for (std::int64_t s = 0; s < own; ++s) {
    kernels::LinearSegment out{};
    const auto linear = arguments(run, static_cast<std::size_t>(s), x, out);
    out.out = parts + s * results;
    run.kernels().linear(launch, linear);
  }
  if (shared()) {
    options_.ranks->gather(run.outputs[0].storage()->device(), parts,
                           static_cast<std::size_t>(results * own) * sizeof(float), all);
  }
  auto* out = run.outputs[0].as<float>();
  float* sum = all;
  for (int s = 1; s < kRankSegments; ++s) {
    add(run, out, sum, all + s * results, rows, columns, columns);
    sum = out;
  }
  const Tensor& bias = run.constants->tensors[0];
  if (bias.defined()) add(run, out, out, bias.as<float>(), rows, columns, 0);
}

std::string RankLinearOp::describe() const {
  std::string text = "rank_linear " + options_.path + (options_.bias.defined() ? " bias" : "");
  return text + ", " + std::to_string(options_.segments.size()) + " of " +
         std::to_string(kRankSegments) + " segments";
}

// ---------------------------------------------------------------- gathering

std::vector<TensorSpec> RankGatherOp::infer(std::span<const TensorSpec> inputs) const {
  expect_inputs(name(), inputs, 1);
  TensorSpec whole = inputs[0];
  Axis axis = whole.shape.axis(axis_);
  axis.size *= ranks_->size();
  whole.shape = whole.shape.with_axis(axis_, axis);
  return {whole};
}

std::size_t RankGatherOp::scratch_bytes(const OpRun& run) const {
  return contiguous_scratch(run.inputs[0]) + ScratchCursor::align(run.outputs[0].bytes());
}

void RankGatherOp::run(OpRun& run) const {
  const Tensor& x = run.inputs[0];
  const Tensor& out = run.outputs[0];
  if (out.elements() == 0) return;
  ScratchCursor scratch(run.launch.scratch);
  const void* own = contiguous_input(run, x, scratch);
  auto* all = scratch.take<std::byte>(static_cast<std::int64_t>(out.bytes()));
  ranks_->gather(run.outputs[0].storage()->device(), own, x.bytes(), all);
  // [rank, outer, part, inner] -> [outer, rank, part, inner]
  std::int64_t outer = 1;
  for (int i = 0; i < axis_; ++i) outer *= x.shape().size(i);
  const std::int64_t inner = x.elements() / outer;
  kernels::CopyArguments turned{};
  turned.rank = 3;
  turned.sizes[0] = outer;
  turned.sizes[1] = ranks_->size();
  turned.sizes[2] = inner;
  turned.out = {out.data(), out.dtype(), {inner * ranks_->size(), inner, 1}};
  turned.x = {all, x.dtype(), {inner, x.elements(), 1}};
  run.kernels().copy(run.launch, turned);
}

}  // namespace perilune
