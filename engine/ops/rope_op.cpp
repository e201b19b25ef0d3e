#include "engine/ops/rope_op.h"

#include "engine/ops/bound_call.h"

#include <algorithm>

namespace perilune {

RopeTableOp::RopeTableOp(std::shared_ptr<const RopeOptions> options)
    : options_(std::move(options)), scale_(rope_attention_scale(*options_)) {
  if (!options_->depends_on_length()) frequencies_ = rope_frequencies(*options_, 0);
}

std::vector<TensorSpec> RopeTableOp::infer(std::span<const TensorSpec> inputs) const {
  expect_inputs("rope", inputs, 1);
  if (inputs[0].dtype != DType::i32 || inputs[0].shape.rank() != 1) {
    throw Error(ErrorCode::dtype, "rope", "positions must be i32 over one axis")
        .operand("positions", inputs[0].text());
  }
  const TensorSpec table{DType::f32, inputs[0].shape.append({"pair", options_->dims / 2, 0}),
                         false};
  return {table, table};
}

std::size_t RopeTableOp::scratch_bytes(const OpRun& run) const {
  const auto rows = static_cast<std::size_t>(run.inputs[0].elements());
  const auto pairs = static_cast<std::size_t>(options_->dims / 2);
  const std::size_t variants = options_->depends_on_length() ? rows : 1;
  return contiguous_scratch(run.inputs[0]) + lend_scratch(run, variants * pairs * sizeof(float)) +
         lend_scratch(run, rows * sizeof(std::int32_t));
}

// Lengths within the original maximum share one row of frequencies; longrope has only one more.
std::int64_t RopeTableOp::canonical_length(std::int64_t length) const {
  const std::int64_t original = options_->original_max_positions;
  if (options_->scaling == RopeScaling::longrope)
    return length > original ? original + 1 : original;
  return std::max(length, original);
}

void RopeTableOp::run(OpRun& run) const {
  const Tensor& positions = run.inputs[0];
  kernels::RopeTableArguments arguments{};
  arguments.rows = positions.elements();
  if (arguments.rows == 0) return;
  ScratchCursor scratch(run.launch.scratch);
  arguments.cosine = run.outputs[0].as<float>();
  arguments.sine = run.outputs[1].as<float>();
  arguments.positions = static_cast<const std::int32_t*>(contiguous_input(run, positions, scratch));
  arguments.pairs = options_->dims / 2;
  arguments.attention_scale = scale_;
  std::vector<float> variants;
  std::vector<std::int32_t> chosen;
  if (options_->depends_on_length()) {
    std::vector<std::int64_t> known;
    const RaggedRows& rows = run.rows("rope", positions.shape().axis(0));
    for (const std::int64_t length : run.bound("rope").rope_lengths(rows.identity)) {
      const std::int64_t canonical = canonical_length(length);
      const auto found = std::find(known.begin(), known.end(), canonical);
      chosen.push_back(static_cast<std::int32_t>(found - known.begin()));
      if (found != known.end()) continue;
      known.push_back(canonical);
      const std::vector<float> row = rope_frequencies(*options_, canonical);
      variants.insert(variants.end(), row.begin(), row.end());
    }
    arguments.inverse_frequencies = lend(run, variants, scratch);
    arguments.frequency_row = lend(run, chosen, scratch);
  } else {
    arguments.inverse_frequencies = lend(run, frequencies_, scratch);
  }
  run.kernels().rope_table(run.launch, arguments);
}

std::vector<TensorSpec> RopeOp::infer(std::span<const TensorSpec> inputs) const {
  expect_inputs("rope", inputs, 3);
  expect_f32("rope", "x", inputs[0]);
  const Shape& x = inputs[0].shape;
  if (x.rank() != 2 && x.rank() != 3) {
    throw Error(ErrorCode::shape, "rope", "x must be [token, head, head_dim]")
        .operand("x", inputs[0].text());
  }
  if (!axes_agree(x.axis(0), inputs[1].shape.axis(0))) {
    throw Error(ErrorCode::shape, "rope", "x and positions are over different tokens")
        .operand("x", inputs[0].text())
        .operand("positions", Shape({inputs[1].shape.axis(0)}).text());
  }
  const std::int64_t turned = 2 * inputs[1].shape.size(1);
  if (x.back().size < turned) {
    throw Error(ErrorCode::shape, "rope", "more dimensions are to turn than there are")
        .operand("x", inputs[0].text() + " " + versus(x.back().size, turned))
        .hint("see head_dim and the rope options' dims");
  }
  return {inputs[0]};
}

kernels::RopeArguments RopeOp::arguments(const OpRun& run, ScratchCursor& scratch) const {
  const Tensor& x = run.inputs[0];
  kernels::RopeArguments arguments{};
  arguments.x = static_cast<const float*>(contiguous_input(run, x, scratch));
  arguments.out = run.outputs[0].as<float>();
  arguments.cosine = run.inputs[1].as<float>();
  arguments.sine = run.inputs[2].as<float>();
  arguments.rows = x.shape().size(0);
  arguments.heads = x.shape().rank() == 3 ? x.shape().size(1) : 1;
  arguments.head_dim = x.shape().back().size;
  arguments.pairs = run.inputs[1].shape().size(1);
  arguments.interleaved = interleaved_;
  return arguments;
}

void RopeOp::run(OpRun& run) const {
  if (run.inputs[0].elements() == 0) return;
  ScratchCursor scratch(run.launch.scratch);
  run.kernels().rope(run.launch, arguments(run, scratch));
}

void RopeOp::bind_call(const OpRun& run, BoundCall& call) const {
  if (run.inputs[0].elements() == 0 || scratch_bytes(run) != 0) return;
  ScratchCursor none(nullptr);
  call.call = arguments(run, none);
}

}  // namespace perilune
