#include "engine/batch/batch.h"

#include <algorithm>
#include <limits>

#include "engine/base/error.h"
#include "engine/device/context.h"

namespace perilune {

namespace {

Shape ragged_shape(const RaggedRows& rows) {
  return Shape{Axis{rows.axis, rows.total(), rows.identity}};
}

}  // namespace

std::int64_t RaggedRows::longest() const {
  std::int64_t most = 0;
  for (std::int64_t r = 0; r < rows(); ++r) most = std::max(most, length(r));
  return most;
}

void RaggedRows::set_even(std::string_view name, AxisIdentity new_identity, std::int64_t rows,
                          std::int64_t length) {
  axis = name;
  identity = new_identity;
  starts.resize(static_cast<std::size_t>(rows) + 1);
  for (std::int64_t r = 0; r <= rows; ++r) starts[static_cast<std::size_t>(r)] = r * length;
}

RaggedRows RaggedRows::from_lengths(std::string axis, AxisIdentity identity,
                                    const std::vector<std::int64_t>& lengths) {
  RaggedRows rows;
  rows.axis = std::move(axis);
  rows.identity = identity;
  rows.starts.reserve(lengths.size() + 1);
  for (std::int64_t length : lengths) {
    const auto end = length < 0 ? std::nullopt : checked_add(rows.starts.back(), length);
    if (!end) throw Error(ErrorCode::internal, "batch", "a row length that cannot be");
    rows.starts.push_back(*end);
  }
  return rows;
}

RaggedRows Batch::new_rows(const std::vector<std::int64_t>& lengths,
                           const std::string& axis) const {
  RaggedRows rows = RaggedRows::from_lengths(axis, context_->new_identity(), lengths);
  if (rows.total() > std::numeric_limits<std::int32_t>::max()) {
    throw Error(ErrorCode::argument, "batch",
                std::to_string(rows.total()) + " " + axis + "s in one batch; at most 2147483647");
  }
  return rows;
}

void Batch::set_rows(const std::vector<std::int64_t>& lengths, const std::string& axis) {
  rows_ = new_rows(lengths, axis);
  batch_identity_ = context_->new_identity();
}

void Batch::fill_defaults() {
  if (!has_positions_) {
    positions_ = Tensor::make(context_, DType::i32, ragged_shape(rows_));
    auto* to = positions_.as<std::int32_t>();
    for (std::int64_t r = 0; r < size(); ++r) {
      const std::int64_t first = facts_[static_cast<std::size_t>(r)].first_position;
      for (std::int64_t i = 0; i < rows_.length(r); ++i) {
        *to++ = static_cast<std::int32_t>(first + i);
      }
    }
  }
  if (!has_type_ids_) type_ids_ = Tensor::zeros(context_, DType::i32, ragged_shape(rows_));
}

std::shared_ptr<const Batch> Batch::make(const std::shared_ptr<Context>& context,
                                         const std::vector<std::vector<std::int32_t>>& rows) {
  return make(context, rows, {});
}

std::shared_ptr<const Batch> Batch::make(const std::shared_ptr<Context>& context,
                                         const std::vector<std::vector<std::int32_t>>& rows,
                                         const std::vector<BatchInput>& inputs) {
  if (rows.empty() && inputs.empty()) {
    throw Error(ErrorCode::argument, "batch", "no rows").hint("give at least one row of ids");
  }
  std::vector<std::int64_t> lengths;
  lengths.reserve(rows.size());
  for (std::size_t r = 0; r < rows.size(); ++r) {
    if (rows[r].empty()) {
      throw Error(
          ErrorCode::argument, "batch",
          "row " + std::to_string(r + 1) + " of " + std::to_string(rows.size()) + " has no tokens")
          .hint("leave the row out, or begin it with the model's start token");
    }
    lengths.push_back(static_cast<std::int64_t>(rows[r].size()));
  }
  std::shared_ptr<Batch> batch(new Batch());
  batch->context_ = context;
  batch->set_rows(rows.empty() ? inputs[0].lengths : lengths,
                  rows.empty() ? inputs[0].axis : "token");
  if (!rows.empty()) {
    batch->ids_ = Tensor::make(context, DType::i32, ragged_shape(batch->rows_));
    auto* to = batch->ids_.as<std::int32_t>();
    for (const auto& row : rows) to = std::copy(row.begin(), row.end(), to);
  }
  for (const BatchInput& input : inputs) batch->add_input(input);
  batch->facts_.resize(static_cast<std::size_t>(batch->size()));
  for (std::size_t r = 0; r < batch->facts_.size(); ++r) {
    batch->facts_[r].source = static_cast<std::int64_t>(r);
  }
  batch->fill_defaults();
  return batch;
}

std::shared_ptr<const Batch> Batch::make_inputs(const std::shared_ptr<Context>& context,
                                                const std::string& name, const Tensor& rows,
                                                const std::vector<std::int64_t>& lengths,
                                                const std::string& axis) {
  return make(context, {}, {{name, rows, lengths, axis}});
}

void Batch::add_input(const BatchInput& input) {
  const std::string place = " of input " + input.name;
  if (input.lengths.empty()) throw Error(ErrorCode::argument, "batch", "no rows" + place);
  for (std::size_t r = 0; r < input.lengths.size(); ++r) {
    if (input.lengths[r] > 0) continue;
    throw Error(ErrorCode::argument, "batch",
                "row " + std::to_string(r + 1) + " of " + std::to_string(input.lengths.size()) +
                    place + " has no " + input.axis + "s");
  }
  if (static_cast<std::int64_t>(input.lengths.size()) != size()) {
    throw Error(ErrorCode::argument, "batch",
                std::to_string(input.lengths.size()) + " rows" + place + ", the batch has " +
                    std::to_string(size()));
  }
  if (input.tensor.shape().index("batch", input.axis) != 0) {
    throw Error(ErrorCode::shape, "batch", "axis " + input.axis + " is not the first")
        .operand(input.name, input.tensor.describe())
        .hint("reorder it with t:order");
  }
  if (input.name == "ids" || input.name == "positions" || input.name == "type_ids" ||
      inputs_.count(input.name) != 0) {
    throw Error(ErrorCode::argument, "batch", "\"" + input.name + "\" is given twice");
  }
  const RaggedRows* rows = input.axis == rows_.axis ? &rows_ : nullptr;
  for (const RaggedRows& other : other_rows_) {
    if (other.axis == input.axis) rows = &other;
  }
  if (rows == nullptr) {
    rows = &other_rows_.emplace_back(new_rows(input.lengths, input.axis));
  }
  for (std::size_t r = 0; r < input.lengths.size(); ++r) {
    const std::int64_t length = rows->length(static_cast<std::int64_t>(r));
    if (length == input.lengths[r]) continue;
    throw Error(ErrorCode::shape, "batch",
                "row " + std::to_string(r + 1) + place + " has " +
                    std::to_string(input.lengths[r]) + " " + input.axis + "s, the batch " +
                    std::to_string(length))
        .operand(input.name, input.tensor.describe());
  }
  if (input.tensor.shape().size(0) != rows->total()) {
    throw Error(ErrorCode::shape, "batch",
                "row lengths add up to " + std::to_string(rows->total()) + ", axis " + input.axis +
                    " has " + std::to_string(input.tensor.shape().size(0)))
        .operand(input.name, input.tensor.describe());
  }
  Axis first = input.tensor.shape().axis(0);
  first.identity = rows->identity;
  inputs_[input.name] = input.tensor.with_shape(input.tensor.shape().with_axis(0, first));
}

const Tensor& Batch::input(const std::string& name) const {
  static const Tensor kNone;
  if (name == "ids") return ids_;
  if (name == "positions") return positions_;
  if (name == "type_ids") return type_ids_;
  const auto found = inputs_.find(name);
  return found == inputs_.end() ? kNone : found->second;
}

std::vector<std::int32_t> Batch::row_ids(std::int64_t row) const {
  if (row < 0 || row >= size()) {
    throw Error(ErrorCode::argument, "batch",
                "row " + std::to_string(row + 1) + " of a batch of " + std::to_string(size()));
  }
  if (!has_ids()) throw Error(ErrorCode::state, "batch", "this batch holds no ids");
  const auto* data = ids_.as<std::int32_t>() + rows_.starts[static_cast<std::size_t>(row)];
  return {data, data + rows_.length(row)};
}

std::shared_ptr<Batch> Batch::clone() const {
  return std::shared_ptr<Batch>(new Batch(*this));
}

Tensor Batch::ragged_integers(const char* op, const char* what,
                              const std::vector<std::vector<std::int64_t>>& values) const {
  if (static_cast<std::int64_t>(values.size()) != size()) {
    throw Error(ErrorCode::argument, op,
                std::string(what) + " for " + std::to_string(values.size()) +
                    " rows, the batch has " + std::to_string(size()));
  }
  Tensor out = Tensor::make(context_, DType::i32, ragged_shape(rows_));
  auto* to = out.as<std::int32_t>();
  for (std::int64_t r = 0; r < size(); ++r) {
    const auto& row = values[static_cast<std::size_t>(r)];
    if (static_cast<std::int64_t>(row.size()) != rows_.length(r)) {
      throw Error(ErrorCode::argument, op,
                  std::string(what) + " of row " + std::to_string(r + 1) + ": " +
                      std::to_string(row.size()) + " values for " +
                      std::to_string(rows_.length(r)) + " tokens");
    }
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (row[i] < 0 || row[i] > std::numeric_limits<std::int32_t>::max()) {
        throw Error(ErrorCode::argument, op,
                    std::string(what) + " of row " + std::to_string(r + 1) + ", token " +
                        std::to_string(i + 1) + ": " + std::to_string(row[i]) + " is out of range");
      }
      *to++ = static_cast<std::int32_t>(row[i]);
    }
  }
  return out;
}

std::shared_ptr<const Batch> Batch::with_positions(
    const std::vector<std::vector<std::int64_t>>& positions) const {
  auto copy = clone();
  copy->positions_ = ragged_integers("batch", "positions", positions);
  copy->has_positions_ = true;
  return copy;
}

std::shared_ptr<const Batch> Batch::with_type_ids(
    const std::vector<std::vector<std::int64_t>>& type_ids) const {
  auto copy = clone();
  copy->type_ids_ = ragged_integers("batch", "type_ids", type_ids);
  copy->has_type_ids_ = true;
  return copy;
}

std::shared_ptr<const Batch> Batch::with_labels(
    const std::vector<std::vector<std::int64_t>>& labels) const {
  if (static_cast<std::int64_t>(labels.size()) != size()) {
    throw Error(ErrorCode::argument, "batch",
                "labels for " + std::to_string(labels.size()) + " rows, the batch has " +
                    std::to_string(size()));
  }
  auto copy = clone();
  copy->labels_ = labels;
  return copy;
}

std::shared_ptr<const Batch> Batch::with_facts(std::vector<SequenceFacts> facts) const {
  if (static_cast<std::int64_t>(facts.size()) != size()) {
    throw Error(ErrorCode::argument, "batch",
                "facts for " + std::to_string(facts.size()) + " rows, the batch has " +
                    std::to_string(size()));
  }
  for (std::size_t r = 0; r < facts.size(); ++r) {
    const auto end =
        checked_add(facts[r].first_position, rows_.length(static_cast<std::int64_t>(r)));
    if (facts[r].first_position < 0 || !end || *end > std::numeric_limits<std::int32_t>::max()) {
      throw Error(ErrorCode::argument, "batch",
                  "row " + std::to_string(r + 1) + " begins at position " +
                      std::to_string(facts[r].first_position));
    }
  }
  auto copy = clone();
  copy->facts_ = std::move(facts);
  copy->fill_defaults();
  return copy;
}

std::shared_ptr<const Batch> Batch::with_rows(RowSelection selection,
                                              std::vector<std::vector<std::int64_t>> wanted) const {
  if (selection == RowSelection::listed) {
    if (static_cast<std::int64_t>(wanted.size()) != size()) {
      throw Error(ErrorCode::argument, "batch",
                  "rows lists tokens of " + std::to_string(wanted.size()) +
                      " rows, the batch has " + std::to_string(size()));
    }
    for (std::size_t r = 0; r < wanted.size(); ++r) {
      const std::int64_t length = rows_.length(static_cast<std::int64_t>(r));
      for (std::size_t i = 0; i < wanted[r].size(); ++i) {
        const std::int64_t token = wanted[r][i];
        const bool ascending = i == 0 || wanted[r][i - 1] < token;
        if (token < 0 || token >= length || !ascending) {
          throw Error(ErrorCode::argument, "batch",
                      "rows lists token " + std::to_string(token + 1) + " of row " +
                          std::to_string(r + 1) +
                          (ascending ? ", which has " + std::to_string(length) + " tokens"
                                     : " after token " + std::to_string(wanted[r][i - 1] + 1) +
                                           "; list tokens in ascending order, each once"));
        }
      }
    }
  } else if (!wanted.empty()) {
    throw Error(ErrorCode::argument, "batch", "tokens are listed, but rows is not a list");
  }
  auto copy = clone();
  copy->selection_ = selection;
  copy->wanted_ = std::move(wanted);
  return copy;
}

}  // namespace perilune
