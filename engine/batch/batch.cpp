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

void Batch::set_rows(const std::vector<std::int64_t>& lengths, const std::string& axis) {
  rows_ = RaggedRows::from_lengths(axis, context_->new_identity(), lengths);
  if (rows_.total() > std::numeric_limits<std::int32_t>::max()) {
    throw Error(ErrorCode::argument, "batch",
                std::to_string(rows_.total()) + " tokens in one batch; at most 2147483647");
  }
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
  if (rows.empty()) {
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
  batch->set_rows(lengths, "token");
  batch->ids_ = Tensor::make(context, DType::i32, ragged_shape(batch->rows_));
  auto* to = batch->ids_.as<std::int32_t>();
  for (const auto& row : rows) to = std::copy(row.begin(), row.end(), to);
  batch->facts_.resize(rows.size());
  for (std::size_t r = 0; r < rows.size(); ++r) {
    batch->facts_[r].source = static_cast<std::int64_t>(r);
  }
  batch->fill_defaults();
  return batch;
}

std::shared_ptr<const Batch> Batch::make_inputs(const std::shared_ptr<Context>& context,
                                                const std::string& name, const Tensor& rows,
                                                const std::vector<std::int64_t>& lengths,
                                                const std::string& axis) {
  if (lengths.empty()) throw Error(ErrorCode::argument, "batch", "no rows");
  std::int64_t total = 0;
  for (std::size_t r = 0; r < lengths.size(); ++r) {
    if (lengths[r] <= 0) {
      throw Error(ErrorCode::argument, "batch",
                  "row " + std::to_string(r + 1) + " of " + std::to_string(lengths.size()) +
                      " of input " + name + " has no " + axis + "s");
    }
    total += lengths[r];
  }
  const int at = rows.shape().index("batch", axis);
  if (at != 0) {
    throw Error(ErrorCode::shape, "batch", "axis " + axis + " is not the first")
        .operand(name, rows.describe())
        .hint("reorder it with t:order");
  }
  if (rows.shape().size(0) != total) {
    throw Error(ErrorCode::shape, "batch",
                "row lengths add up to " + std::to_string(total) + ", axis " + axis + " has " +
                    std::to_string(rows.shape().size(0)))
        .operand(name, rows.describe());
  }
  std::shared_ptr<Batch> batch(new Batch());
  batch->context_ = context;
  batch->set_rows(lengths, axis);
  Axis first = rows.shape().axis(0);
  first.identity = batch->rows_.identity;
  batch->inputs_[name] = rows.with_shape(rows.shape().with_axis(0, first));
  batch->facts_.resize(lengths.size());
  for (std::size_t r = 0; r < lengths.size(); ++r) {
    batch->facts_[r].source = static_cast<std::int64_t>(r);
  }
  batch->fill_defaults();
  return batch;
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
