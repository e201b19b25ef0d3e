#include "engine/ops/rows.h"

#include <algorithm>

namespace perilune {

namespace {

/// The ragged axis that such an op works on: x's outermost.
const Axis& ragged_axis(std::string_view op, std::span<const TensorSpec> inputs) {
  expect_inputs(op, inputs, 1);
  if (inputs[0].shape.rank() > 0 && inputs[0].shape.axis(0).identity != 0) {
    return inputs[0].shape.axis(0);
  }
  throw Error(ErrorCode::shape, std::string(op), "x's first axis must be a batch's")
      .operand("x", inputs[0].text());
}

/// Elements of one row of x.
std::int64_t row_elements(const Tensor& x) {
  std::int64_t width = 1;
  for (int i = 1; i < x.shape().rank(); ++i) width *= x.shape().size(i);
  return width;
}

void gather(const OpRun& run, const Tensor& x, const void* data, const std::int64_t* indices,
            std::int64_t count, void* out) {
  const std::int64_t bytes = row_elements(x) * static_cast<std::int64_t>(dtype_size(x.dtype()));
  if (count == 0 || bytes == 0) return;
  run.kernels().gather_rows(run.launch, {out, data, indices, count, bytes, bytes});
}

}  // namespace

// ---------------------------------------------------------------- wanted rows

std::vector<TensorSpec> WantedRowsOp::infer(std::span<const TensorSpec> inputs) const {
  const Axis& axis = ragged_axis(name(), inputs);
  return {
      {inputs[0].dtype, inputs[0].shape.with_axis(0, {axis.name, kSymbolicSize, axis_}), false}};
}

void WantedRowsOp::run(OpRun& run) const {
  if (run.outputs[0].elements() == 0) return;
  const std::vector<std::int64_t>& wanted = run.bound(name()).wanted();
  // They count the batch's tokens, and x may be a family's tensor over other rows.
  const std::int64_t rows = run.inputs[0].shape().size(0);
  if (!wanted.empty() && *std::max_element(wanted.begin(), wanted.end()) >= rows) {
    throw Error(ErrorCode::shape, std::string(name()), "x has other rows than the batch's tokens")
        .operand("x", run.inputs[0].shape().text())
        .hint("the pass must return a tensor over the tokens of its batch");
  }
  ScratchCursor scratch(run.launch.scratch);
  const void* x = contiguous_input(run, run.inputs[0], scratch);
  gather(run, run.inputs[0], x, lend(run, wanted, scratch),
         static_cast<std::int64_t>(wanted.size()), run.outputs[0].data());
}

// ---------------------------------------------------------------- one token a row

std::vector<TensorSpec> SelectTokenOp::infer(std::span<const TensorSpec> inputs) const {
  ragged_axis(name(), inputs);
  return {{inputs[0].dtype, inputs[0].shape.with_axis(0, {"batch", kSymbolicSize, axis_}), false}};
}

std::size_t SelectTokenOp::scratch_bytes(const OpRun& run) const {
  const auto rows = static_cast<std::size_t>(run.outputs[0].shape().size(0));
  return contiguous_scratch(run.inputs[0]) + lend_scratch(run, rows * sizeof(std::int64_t));
}

std::int64_t SelectTokenOp::offset(const OpRun& run, const RaggedRows& rows,
                                   std::int64_t row) const {
  const std::int64_t first = rows.starts[static_cast<std::size_t>(row)];
  const std::int64_t last = first + rows.length(row) - 1;
  if (which_ == RowToken::first) return first;
  if (which_ == RowToken::last) return last;
  const Batch& batch = run.binding->batch();
  if (!batch.has_ids() || row >= batch.size()) return last;
  const auto* ids =
      batch.ids().as<std::int32_t>() + batch.rows().starts[static_cast<std::size_t>(row)];
  const std::int64_t known = std::min(rows.length(row), batch.rows().length(row));
  for (std::int64_t i = 0; i < known; ++i) {
    if (std::find(eos_.begin(), eos_.end(), ids[i]) != eos_.end()) return first + i;
  }
  return last;
}

void SelectTokenOp::run(OpRun& run) const {
  const Tensor& x = run.inputs[0];
  if (run.outputs[0].elements() == 0) return;
  const RaggedRows& rows = run.rows(name(), x.shape().axis(0));
  ScratchCursor scratch(run.launch.scratch);
  const void* data = contiguous_input(run, x, scratch);
  std::vector<std::int64_t> indices(static_cast<std::size_t>(rows.rows()));
  for (std::int64_t r = 0; r < rows.rows(); ++r) {
    if (rows.length(r) == 0) {
      throw Error(ErrorCode::shape, "select", "row " + std::to_string(r + 1) + " has no tokens");
    }
    indices[static_cast<std::size_t>(r)] = offset(run, rows, r);
  }
  gather(run, x, data, lend(run, indices, scratch), rows.rows(), run.outputs[0].data());
}

std::vector<TensorSpec> MeanTokensOp::infer(std::span<const TensorSpec> inputs) const {
  ragged_axis(name(), inputs);
  expect_f32(name(), "x", inputs[0]);
  return {{DType::f32, inputs[0].shape.with_axis(0, {"batch", kSymbolicSize, axis_}), false}};
}

void MeanTokensOp::run(OpRun& run) const {
  const Tensor& x = run.inputs[0];
  if (run.outputs[0].elements() == 0) return;
  const RaggedRows& rows = run.rows(name(), x.shape().axis(0));
  ScratchCursor scratch(run.launch.scratch);
  const auto* data = static_cast<const float*>(contiguous_input(run, x, scratch));
  const std::int64_t width = row_elements(x);
  for (std::int64_t r = 0; r < rows.rows(); ++r) {
    kernels::ReduceArguments arguments{};
    arguments.op = kernels::Reduce::mean;
    arguments.rank = 2;
    arguments.reduced = 1;
    arguments.sizes[0] = width;
    arguments.sizes[1] = rows.length(r);
    const float* begin = data + rows.starts[static_cast<std::size_t>(r)] * width;
    arguments.x = {const_cast<float*>(begin), DType::f32, {1, width}};
    arguments.out = {run.outputs[0].as<float>() + r * width, DType::f32, {1}};
    run.kernels().reduce(run.launch, arguments);
  }
}

std::vector<TensorSpec> RowPositionsOp::infer(std::span<const TensorSpec> inputs) const {
  return {{DType::i32, Shape({ragged_axis(name(), inputs)}), false}};
}

void RowPositionsOp::run(OpRun& run) const {
  if (run.outputs[0].elements() == 0) return;
  const RaggedRows& rows = run.rows(name(), run.inputs[0].shape().axis(0));
  std::vector<std::int32_t> positions;
  for (std::int64_t r = 0; r < rows.rows(); ++r) {
    for (std::int64_t i = 0; i < rows.length(r); ++i) {
      positions.push_back(static_cast<std::int32_t>(i));
    }
  }
  run.device.copy_in(run.outputs[0].data(), positions.data(), run.outputs[0].bytes());
}

// ---------------------------------------------------------------- gather

std::vector<TensorSpec> GatherOp::infer(std::span<const TensorSpec> inputs) const {
  expect_inputs(name(), inputs, 2);
  if (inputs[1].dtype != DType::i32 && inputs[1].dtype != DType::i64) {
    throw Error(ErrorCode::dtype, "gather", "indices must be integers")
        .operand("indices", inputs[1].text());
  }
  std::vector<Axis> axes(inputs[1].shape.axes().begin(), inputs[1].shape.axes().end());
  for (int i = 1; i < inputs[0].shape.rank(); ++i) axes.push_back(inputs[0].shape.axis(i));
  return {{inputs[0].dtype, Shape(axes), false}};
}

std::size_t GatherOp::scratch_bytes(const OpRun& run) const {
  return contiguous_scratch(run.inputs[0]) + contiguous_scratch(run.inputs[1]) +
         lend_scratch(run, static_cast<std::size_t>(run.inputs[1].elements()) * 8);
}

void GatherOp::run(OpRun& run) const {
  const Tensor& x = run.inputs[0];
  const std::int64_t count = run.inputs[1].elements();
  if (count == 0) return;
  ScratchCursor scratch(run.launch.scratch);
  const void* data = contiguous_input(run, x, scratch);
  const void* given = contiguous_input(run, run.inputs[1], scratch);
  std::vector<std::int64_t> indices;
  if (run.inputs[1].dtype() == DType::i64) {
    indices = host_copy<std::int64_t>(run, given, count);
  } else {
    const std::vector<std::int32_t> narrow = host_copy<std::int32_t>(run, given, count);
    indices.assign(narrow.begin(), narrow.end());
  }
  const Axis& axis = x.shape().axis(0);
  for (std::size_t i = 0; i < indices.size(); ++i) {
    if (indices[i] >= 0 && indices[i] < axis.size) continue;
    const std::int64_t shown = indices[i] + (id_axis_ ? 0 : 1);
    throw Error(ErrorCode::argument, "gather",
                axis.name + "=" + std::to_string(shown) + " (index " + std::to_string(i + 1) +
                    ") is out of range")
        .operand("x", x.describe());
  }
  gather(run, x, data, lend(run, indices, scratch), count, run.outputs[0].data());
}

}  // namespace perilune
