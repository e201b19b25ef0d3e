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
  for (const PlanStep& step : plan.steps()) {
    const std::vector<AxisIdentity> made = step.op->made_axes();
    if (made.empty()) continue;
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
  RowSelection selection = batch.row_selection();
  if (selection == RowSelection::automatic) selection = program.default_rows;
  if (selection == RowSelection::listed) return batch.wanted()[static_cast<std::size_t>(row)];
  const std::int64_t length = batch.rows().length(row);
  std::vector<std::int64_t> offsets;
  for (std::int64_t i = selection == RowSelection::last ? length - 1 : 0; i < length; ++i) {
    offsets.push_back(i);
  }
  return offsets;
}

namespace {

bool wants_last(const Batch& batch, const Program& program) {
  const RowSelection said = batch.row_selection();
  return (said == RowSelection::automatic ? program.default_rows : said) == RowSelection::last;
}

}  // namespace

void bind_wanted(PassBinding& binding, const Program& program) {
  const Batch& batch = binding.batch();
  std::vector<std::int64_t> wanted, per_row;
  for (std::int64_t r = 0; r < batch.size(); ++r) {
    const std::vector<std::int64_t> offsets = wanted_offsets(batch, r, program);
    for (const std::int64_t offset : offsets) {
      wanted.push_back(batch.rows().starts[static_cast<std::size_t>(r)] + offset);
    }
    per_row.push_back(static_cast<std::int64_t>(offsets.size()));
  }
  binding.set_wanted(std::move(wanted), std::move(per_row), wants_last(batch, program));
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
  bind_wanted(binding, plan.program());
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
      const bool last = axis.identity == binding.wanted_identity() && wants_last(input, program);
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
