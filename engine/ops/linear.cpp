#include "engine/ops/linear.h"

#include <algorithm>
#include <array>

#include "engine/ops/bound_call.h"
#include "engine/ops/elementwise.h"

namespace perilune {

namespace {

std::string part_weight(const LinearPart& part) {
  return part.weight->describe();
}

std::int64_t outputs_of(const LinearPart& part) {
  std::int64_t outputs = 1;
  for (const Axis& axis : part.axes) outputs *= axis.size;
  return outputs;
}

void check_part(const LinearPart& part, const TensorSpec& x, std::int64_t inputs) {
  if (part.weight == nullptr) return;
  if (part.weight->inputs() != inputs) {
    throw Error(ErrorCode::shape, "linear", "inner sizes differ")
        .operand("x", x.text())
        .operand("weight", part_weight(part) + " " + versus(inputs, part.weight->inputs()));
  }
  if (part.weight->outputs() != outputs_of(part)) {
    throw Error(ErrorCode::shape, "linear", "output axes do not fit the weight")
        .operand("axes", Shape(part.axes).text())
        .operand("weight",
                 part_weight(part) + " " + versus(outputs_of(part), part.weight->outputs()))
        .hint("the sizes of axes come from the family's config (c.axes)");
  }
}

/// Of a result [rows..., output].
TensorSpec squares_spec(const TensorSpec& result) {
  std::vector<Axis> axes(result.shape.axes().begin(), result.shape.axes().end());
  axes.back() = {"piece", axes.back().size / kernels::kSquared};
  return {DType::f32, Shape(axes), false};
}

}  // namespace

std::vector<TensorSpec> LinearOp::infer(std::span<const TensorSpec> inputs) const {
  expect_inputs("linear", inputs, 1 + (beside_.residual ? 1 : 0) + (beside_.norm ? 1 : 0));
  expect_f32("linear", "x", inputs[0]);
  const Shape& shape = inputs[0].shape;
  const int first = shape.rank() - trailing();
  if (first < 0) {
    throw Error(ErrorCode::shape, "linear", "x has too few axes").operand("x", inputs[0].text());
  }
  std::int64_t inner = 1;
  for (int i = first; i < shape.rank(); ++i) {
    const Axis& axis = shape.axis(i);
    if (!over_.empty() && axis.name != over_[static_cast<std::size_t>(i - first)]) {
      shape.index("linear", over_[static_cast<std::size_t>(i - first)]);
      throw Error(ErrorCode::shape, "linear",
                  "the axes summed over must be x's last ones, in order")
          .operand("x", inputs[0].text())
          .hint("reorder x with :order(...)");
    }
    if (axis.symbolic()) {
      throw Error(ErrorCode::shape, "linear", "axis \"" + axis.name + "\" is ragged")
          .operand("x", inputs[0].text());
    }
    inner *= axis.size;
  }
  std::vector<TensorSpec> outputs;
  for (const LinearPart& part : parts_) {
    check_part(part, inputs[0], inner);
    std::vector<Axis> axes(shape.axes().begin(), shape.axes().begin() + first);
    axes.insert(axes.end(), part.axes.begin(), part.axes.end());
    outputs.push_back({DType::f32, Shape(axes), false});
  }
  if (beside_.gated) outputs.pop_back();
  if (beside_.squares) outputs.push_back(squares_spec(outputs[0]));
  return outputs;
}

kernels::LinearArguments LinearOp::arguments(const OpRun& run,
                                             kernels::LinearSegment* segments) const {
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    const LinearPart& part = parts_[i];
    const Tensor& bias = run.constants->tensors[i];
    float* const out = i > 0 && beside_.gated ? nullptr : run.outputs[i].as<float>();
    segments[i] = {run.constants->weights[i], bias.defined() ? bias.as<float>() : nullptr,
                   part.activation, out, part.weight->outputs()};
  }
  const Tensor& x = run.inputs[0];
  const std::int64_t inputs = parts_[0].weight->inputs();
  const std::optional<RowView> view = row_view(x, trailing());
  kernels::LinearArguments arguments{};
  arguments.x = view ? x.as<float>() : nullptr;
  arguments.x_stride = view ? view->stride : inputs;
  arguments.rows = inputs == 0 ? 0 : x.elements() / inputs;
  arguments.inputs = inputs;
  arguments.scale = static_cast<float>(scale_);
  arguments.segments = segments;
  arguments.segment_count = static_cast<std::int64_t>(parts_.size());
  return arguments;
}

kernels::LinearFusion LinearOp::fusion(const OpRun& run) const {
  kernels::LinearFusion fusion{};
  if (beside_.norm) {
    const Tensor& weight = run.constants->tensors[parts_.size()];
    fusion.norm = true;
    fusion.norm_weight = weight.defined() ? weight.as<float>() : nullptr;
    fusion.norm_offset = beside_.norm->offset;
    fusion.norm_epsilon = static_cast<float>(beside_.norm->epsilon);
    fusion.squares_of_x = run.inputs.back().as<float>();
  }
  fusion.gated = beside_.gated;
  if (beside_.residual && run.inputs[1].contiguous()) fusion.residual = run.inputs[1].as<float>();
  if (beside_.squares) fusion.squares = run.outputs[1].as<float>();
  return fusion;
}

/// For copies of x and of the residual.
std::size_t LinearOp::input_scratch(const OpRun& run,
                                    const kernels::LinearArguments& linear) const {
  return (linear.x == nullptr ? ScratchCursor::align(run.inputs[0].bytes()) : std::size_t{0}) +
         (beside_.residual ? contiguous_scratch(run.inputs[1]) : std::size_t{0});
}

template <class Each>
void LinearOp::by_math(kernels::LinearArguments linear, const Each& each) const {
  const kernels::LinearSegment* segments = linear.segments;
  const std::int64_t count = linear.segment_count;
  for (std::int64_t first = 0, next = 0; first < count; first = next) {
    linear.math = segments[first].weight.math;
    linear.input_order = segments[first].weight.input_order;
    while (next < count && segments[next].weight.math == linear.math &&
           segments[next].weight.input_order == linear.input_order) {
      ++next;
    }
    linear.segments = segments + first;
    linear.segment_count = next - first;
    each(linear);
  }
}

std::size_t LinearOp::scratch_bytes(const OpRun& run) const {
  std::array<kernels::LinearSegment, kMaxParts> segments;
  kernels::LinearArguments linear = arguments(run, segments.data());
  linear.fusion = fusion(run);
  std::size_t most = 0;
  by_math(linear, [&](const kernels::LinearArguments& part) {
    most = std::max(most, run.kernels().linear_scratch(part, run.launch.parallel.threads));
  });
  return input_scratch(run, linear) + most;
}

void LinearOp::run(OpRun& run) const {
  std::array<kernels::LinearSegment, kMaxParts> segments;
  kernels::LinearArguments linear = arguments(run, segments.data());
  if (linear.rows == 0) return;
  ScratchCursor scratch(run.launch.scratch);
  if (linear.x == nullptr) {
    linear.x = static_cast<const float*>(contiguous_input(run, run.inputs[0], scratch));
  }
  linear.fusion = fusion(run);
  if (beside_.residual) {
    linear.fusion.residual =
        static_cast<const float*>(contiguous_input(run, run.inputs[1], scratch));
  }
  kernels::Launch launch = run.launch;
  launch.scratch = scratch.rest();
  by_math(linear,
          [&](const kernels::LinearArguments& part) { run.kernels().linear(launch, part); });
}

// Parts of one arithmetic, and inputs that no copy makes ready.
void LinearOp::bind_call(const OpRun& run, BoundCall& call) const {
  if (parts_.size() > BoundCall::kMostSegments) return;
  BoundCall::Linear linear{};
  linear.arguments = arguments(run, linear.segments.data());
  if (linear.arguments.rows == 0 || input_scratch(run, linear.arguments) != 0) return;
  linear.arguments.fusion = fusion(run);
  int groups = 0;
  by_math(linear.arguments, [&](const kernels::LinearArguments& part) {
    linear.arguments.math = part.math;
    linear.arguments.input_order = part.input_order;
    ++groups;
  });
  if (groups == 1) call.call = linear;
}

std::vector<std::shared_ptr<Weight>> LinearOp::weights() const {
  std::vector<std::shared_ptr<Weight>> weights;
  for (const LinearPart& part : parts_) {
    if (part.weight != nullptr) weights.push_back(part.weight);
  }
  return weights;
}

std::vector<Tensor> LinearOp::constants() const {
  std::vector<Tensor> biases;
  for (const LinearPart& part : parts_) biases.push_back(part.bias);
  if (beside_.norm) biases.push_back(beside_.norm->weight);
  return biases;
}

std::string LinearOp::describe() const {
  std::string text = "linear";
  if (beside_.norm) text += " of rms_norm " + beside_.norm->path + ",";
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    text += (i == 0 ? " " : " + ") + parts_[i].path;
    if (parts_[i].bias.defined()) text += " bias";
    if (parts_[i].activation != kernels::Activation::none) {
      text += std::string(" ") + activation_name(parts_[i].activation);
    }
  }
  if (beside_.gated) text += ", gated";
  if (beside_.residual) text += ", added";
  return text;
}

// ---------------------------------------------------------------- embedding

std::vector<TensorSpec> EmbeddingOp::infer(std::span<const TensorSpec> inputs) const {
  expect_inputs("embedding", inputs, 1);
  if (inputs[0].dtype != DType::i32 && inputs[0].dtype != DType::i64) {
    throw Error(ErrorCode::dtype, "embedding", "ids must be integers")
        .operand("ids", inputs[0].text());
  }
  if (table_ != nullptr && table_->inputs() != axis_.size) {
    throw Error(ErrorCode::shape, "embedding", "the table's rows have another size")
        .operand("axis", axis_.name + "=" + std::to_string(axis_.size))
        .operand("table", table_->describe() + " " + versus(axis_.size, table_->inputs()));
  }
  return {{DType::f32, inputs[0].shape.append(axis_), false}};
}

std::size_t EmbeddingOp::scratch_bytes(const OpRun& run) const {
  return contiguous_scratch(run.inputs[0]) +
         ScratchCursor::align(static_cast<std::size_t>(run.inputs[0].elements()) * 4);
}

void EmbeddingOp::check(std::int64_t index, std::int64_t id, const RaggedRows* rows) const {
  if (id + offset_ >= 0 && id + offset_ < table_->outputs()) return;
  std::string place = "entry " + std::to_string(index + 1);
  if (rows != nullptr) {
    std::int64_t row = 0;
    while (index >= rows->starts[static_cast<std::size_t>(row) + 1]) ++row;
    place = "row " + std::to_string(row + 1) + ", token " +
            std::to_string(index - rows->starts[static_cast<std::size_t>(row)] + 1);
  }
  throw Error(ErrorCode::argument, "embedding",
              "id " + std::to_string(id) + " (" + place + ") is outside the table")
      .operand(path_, table_->describe() + " (ids " + std::to_string(-offset_) + " to " +
                          std::to_string(table_->outputs() - 1 - offset_) + ")")
      .hint("do model and tokenizer belong together? pl.check(model, tokenizer) tells");
}

void EmbeddingOp::check_ids(const Tensor& ids, const RaggedRows* rows) const {
  if (table_ == nullptr) return;
  const std::int64_t count = ids.elements();
  const void* data = ids.data();
  for (std::int64_t i = 0; i < count; ++i) {
    check(i,
          ids.dtype() == DType::i64 ? static_cast<const std::int64_t*>(data)[i]
                                    : static_cast<const std::int32_t*>(data)[i],
          rows);
  }
}

// Ids that the pass itself computed: the host looks at them before they are followed.
void EmbeddingOp::check_computed(const OpRun& run) const {
  const Tensor& ids = run.inputs[0];
  const Axis& axis = ids.shape().axis(0);
  const bool ragged = run.binding != nullptr && axis.identity != 0 && ids.shape().rank() == 1;
  const Tensor host = ids.to_contiguous().to(run.context.cpu_device());
  check_ids(host, ragged ? &run.rows("embedding", axis) : nullptr);
}

void EmbeddingOp::run(OpRun& run) const {
  const Tensor& ids = run.inputs[0];
  const std::int64_t count = ids.elements();
  if (count == 0) return;
  if (!run.ids_checked) check_computed(run);
  ScratchCursor scratch(run.launch.scratch);
  const void* source = contiguous_input(run, ids, scratch);
  if (ids.dtype() == DType::i64) {
    auto* narrow = scratch.take<std::int32_t>(count);
    kernels::CopyArguments narrowed{};
    narrowed.rank = 1;
    narrowed.sizes[0] = count;
    narrowed.out = {narrow, DType::i32, {1}};
    narrowed.x = {const_cast<void*>(source), DType::i64, {1}};
    run.kernels().copy(run.launch, narrowed);
    source = narrow;
  }
  run.kernels().embedding(
      run.launch, {run.outputs[0].as<float>(), static_cast<const std::int32_t*>(source), count,
                   offset_, run.constants->weights[0], static_cast<float>(scale_)});
}

std::vector<std::shared_ptr<Weight>> EmbeddingOp::weights() const {
  if (table_ == nullptr) return {};
  return {table_};
}

}  // namespace perilune
