#include "engine/plan/pass_rows.h"

#include "engine/base/error.h"

namespace perilune {

namespace {

// An axis' own rows: the batch's, its wanted ones, or an input's.
void bind_source(const ProgramAxis& axis, AxisIdentity number, const PassBinding& binding,
                 AxisRows& axes) {
  const Batch& batch = binding.batch();
  if (axis.source == "batch" && axis.name == "batch") {
    axes.slot(number).set_even("batch", batch.batch_identity(), batch.size(), 1);
  } else if (axis.source == "batch") {
    axes.set(number, batch.rows());
  } else if (axis.source == "wanted") {
    const AxisIdentity wanted = binding.wanted_identity();
    if (wanted == 0) {
      axes.slot(number).set_even("token", 0, 1, 0);
    } else {
      axes.set(number, binding.rows(wanted));
    }
  } else if (const Tensor& input = binding.input(axis.source); input.defined()) {
    axes.set(number, binding.rows(input.shape().axis(0).identity));
  }
}

}  // namespace

void bind_axes(const Plan& plan, const PassBinding& binding, AxisRows& axes) {
  axes.restart(&binding);
  const std::vector<ProgramAxis>& declared = plan.program().axes;
  for (std::size_t i = 0; i < declared.size(); ++i) {
    if (!declared[i].source.empty()) bind_source(declared[i], i + 1, binding, axes);
  }
  for (const std::size_t s : plan.axis_steps()) {
    const PlanStep& step = plan.steps()[s];
    const std::vector<AxisIdentity> made = step.op->made_axes();
    std::vector<TensorSpec> specs;
    for (const int id : step.inputs) {
      specs.push_back(plan.values()[static_cast<std::size_t>(id)].spec);
    }
    const std::vector<RaggedRows> rows = step.op->bind_axes(specs, binding, axes);
    for (std::size_t i = 0; i < made.size(); ++i) axes.set(made[i], rows[i]);
  }
}

std::vector<std::int64_t> wanted_offsets(const Batch& batch, std::int64_t row,
                                         const Program& program) {
  std::vector<std::int64_t> offsets;
  batch.append_wanted(row, program.default_rows, 0, offsets);
  return offsets;
}

namespace {

const TensorSpec* output_spec(const Plan& plan, const std::string& name) {
  for (const auto& [known, value] : plan.outputs()) {
    if (known == name) return &plan.values()[static_cast<std::size_t>(value)].spec;
  }
  return nullptr;
}

RaggedRows rows_of_spec(const TensorSpec& spec, const AxisRows& axes) {
  if (spec.shape.rank() == 0 || !spec.shape.axis(0).symbolic()) return {};
  return axes.rows(spec.shape.axis(0).identity);
}

}  // namespace

RaggedRows output_rows(const Plan& plan, const std::shared_ptr<const Batch>& batch,
                       const std::string& output) {
  const TensorSpec* spec = output_spec(plan, output);
  if (spec == nullptr) {
    throw Error(ErrorCode::argument, plan.program().entry, "there is no output \"" + output + "\"");
  }
  PassBinding binding(plan.context(), batch);
  binding.bind_wanted(plan.program().default_rows);
  AxisRows axes;
  bind_axes(plan, binding, axes);
  return rows_of_spec(*spec, axes);
}

Tensor row_output(const Tensor& output, std::size_t row, const PassBinding& binding,
                  const Batch& input, const Program& program) {
  const Batch& batch = binding.batch();
  for (int i = 0; i < output.shape().rank(); ++i) {
    Axis axis = output.shape().axis(i);
    if (axis.identity == 0) continue;
    std::int64_t first = 0, count = 1;
    if (axis.identity == batch.batch_identity()) {
      first = static_cast<std::int64_t>(row);
      axis.identity = input.batch_identity();
    } else if (binding.has_rows(axis.identity)) {
      const RaggedRows& rows = binding.rows(axis.identity);
      first = rows.starts[row];
      count = rows.length(static_cast<std::int64_t>(row));
      const bool last = axis.identity == binding.wanted_identity() &&
                        input.selection_or(program.default_rows) == RowSelection::last;
      if (last) axis.name = "batch";
      axis.identity = last                      ? input.batch_identity()
                      : count == input.tokens() ? input.rows().identity
                                                : 0;
    } else {
      continue;
    }
    axis.size = count;
    const Tensor part = output.slice(i, first, count).copy();
    return part.with_shape(part.shape().with_axis(i, axis));
  }
  return output.copy();
}

}  // namespace perilune
