// The rows of a pass: how long every ragged axis is for a batch (asked of the batch, of inputs and
// of the ops that make axes, before anything runs), and for which tokens logits are computed.
#pragma once

#include "engine/plan/plan.h"

namespace perilune {

/// Sets the rows of all axes of the plan's program, by the program's numbers. Throws what an op
/// throws for rows it cannot take. `binding` must outlive `axes`.
void bind_axes(const Plan& plan, const PassBinding& binding, AxisRows& axes);

/// Offsets in row `row` of `batch` whose logits are computed, ascending: what the batch says itself
/// (Batch::row_selection), else the program's default (Program::default_rows).
std::vector<std::int64_t> wanted_offsets(const Batch& batch, std::int64_t row,
                                         const Program& program);

/// Rows of the first axis that `output` of this plan has for a batch, asked of the pass's ops (a
/// convolution halves frames). Nothing runs and nothing is allocated on a device.
RaggedRows output_rows(const Plan& plan, const std::shared_ptr<const Batch>& batch,
                       const std::string& output = "encoded");

/// The part of an output (on the host) that belongs to row `row`, as a copy with the identities of
/// `input`, the row's own batch of one; [batch=1, ...] where `input` asks for its last token.
Tensor row_output(const Tensor& output, std::size_t row, const PassBinding& binding,
                  const Batch& input, const Program& program);

}  // namespace perilune
