#include "engine/batch/batch.h"

#include <algorithm>
#include <limits>

#include "engine/base/error.h"
#include "engine/base/row_identity.h"
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

void RaggedRows::set_lengths(std::string_view name, AxisIdentity new_identity,
                             std::span<const std::int64_t> lengths) {
  axis = name;
  identity = new_identity;
  starts.assign(1, 0);
  starts.reserve(lengths.size() + 1);
  for (std::int64_t length : lengths) {
    const auto end = length < 0 ? std::nullopt : checked_add(starts.back(), length);
    if (!end) throw Error(ErrorCode::internal, "batch", "a row length that cannot be");
    starts.push_back(*end);
  }
}

RaggedRows RaggedRows::from_lengths(std::string axis, AxisIdentity identity,
                                    const std::vector<std::int64_t>& lengths) {
  RaggedRows rows;
  rows.set_lengths("", identity, lengths);
  rows.axis = std::move(axis);
  return rows;
}

void Batch::renew(RaggedRows& rows, std::span<const std::int64_t> lengths,
                  std::string_view axis) const {
  // The axis "batch" has one entry a row, wherever it is.
  rows.set_lengths(axis, axis == "batch" ? batch_identity_ : context_->new_identity(), lengths);
  if (rows.total() > std::numeric_limits<std::int32_t>::max()) {
    throw Error(
        ErrorCode::argument, "batch",
        std::to_string(rows.total()) + " " + rows.axis + "s in one batch; at most 2147483647");
  }
}

RaggedRows Batch::new_rows(const std::vector<std::int64_t>& lengths,
                           const std::string& axis) const {
  RaggedRows rows;
  renew(rows, lengths, axis);
  return rows;
}

void Batch::set_rows(const std::vector<std::int64_t>& lengths, const std::string& axis) {
  batch_identity_ = context_->new_identity();
  renew(rows_, lengths, axis);
}

void Batch::identify_by_ids() {
  if (!has_ids() || !inputs_.empty()) return;
  const RowIdentity identity =
      identify_rows({ids_.as<std::int32_t>(), static_cast<std::size_t>(tokens())}, rows_.starts);
  rows_.identity = identity.token;
  batch_identity_ = identity.batch;
  for (Tensor* tensor : {&ids_, &positions_, &type_ids_}) {
    *tensor = tensor->with_shape(ragged_shape(rows_));
  }
}

void Batch::refit(Tensor& tensor) const {
  Shape shape = ragged_shape(rows_);
  const auto bytes = static_cast<std::size_t>(rows_.total()) * sizeof(std::int32_t);
  const bool fits =
      tensor.defined() && tensor.storage().use_count() == 1 && tensor.storage()->bytes() >= bytes;
  if (!fits) {
    tensor = Tensor::make(context_, DType::i32, std::move(shape));
    return;
  }
  const Tensor::Strides strides = row_major(shape);
  tensor = Tensor(tensor.storage(), DType::i32, std::move(shape), strides, 0);
}

void Batch::fill_defaults() {
  if (!has_positions_) {
    refit(positions_);
    auto* to = positions_.as<std::int32_t>();
    for (std::int64_t r = 0; r < size(); ++r) {
      const std::int64_t first = facts_[static_cast<std::size_t>(r)].first_position;
      for (std::int64_t i = 0; i < rows_.length(r); ++i) {
        *to++ = static_cast<std::int32_t>(first + i);
      }
    }
  }
  if (has_type_ids_) return;
  refit(type_ids_);
  std::fill_n(type_ids_.as<std::int32_t>(), rows_.total(), 0);
}

void Batch::check_row_lengths(std::span<const std::int64_t> lengths) {
  for (std::size_t r = 0; r < lengths.size(); ++r) {
    if (lengths[r] > 0) continue;
    throw Error(
        ErrorCode::argument, "batch",
        "row " + std::to_string(r + 1) + " of " + std::to_string(lengths.size()) + " has no tokens")
        .hint("leave the row out, or begin it with the model's start token");
  }
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
  for (const auto& row : rows) lengths.push_back(static_cast<std::int64_t>(row.size()));
  check_row_lengths(lengths);
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
  batch->identify_by_ids();
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
  if (input.axis == "batch" && std::any_of(input.lengths.begin(), input.lengths.end(),
                                           [](auto length) { return length > 1; })) {
    throw Error(ErrorCode::argument, "batch", "a row" + place + " has more than one entry")
        .operand(input.name, input.tensor.describe());
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

void Batch::check_position(std::size_t row, const SequenceFacts& facts) const {
  const auto end = checked_add(facts.first_position, rows_.length(static_cast<std::int64_t>(row)));
  if (end && *end <= std::numeric_limits<std::int32_t>::max()) return;
  throw Error(ErrorCode::argument, "batch",
              "row " + std::to_string(row + 1) + " begins at position " +
                  std::to_string(facts.first_position));
}

std::shared_ptr<const Batch> Batch::with_facts(std::vector<SequenceFacts> facts) const {
  if (static_cast<std::int64_t>(facts.size()) != size()) {
    throw Error(ErrorCode::argument, "batch",
                "facts for " + std::to_string(facts.size()) + " rows, the batch has " +
                    std::to_string(size()));
  }
  for (std::size_t r = 0; r < facts.size(); ++r) check_position(r, facts[r]);
  auto copy = clone();
  copy->facts_ = std::move(facts);
  copy->fill_defaults();
  return copy;
}

std::shared_ptr<const Batch> Batch::with_adapters(const std::vector<std::int64_t>& adapters) const {
  if (adapters.size() != 1 && static_cast<std::int64_t>(adapters.size()) != size()) {
    throw Error(
        ErrorCode::argument, "batch",
        std::to_string(adapters.size()) + " adapters for " + std::to_string(size()) + " rows");
  }
  auto copy = clone();
  for (std::size_t r = 0; r < copy->facts_.size(); ++r) {
    copy->facts_[r].adapter = adapters[adapters.size() == 1 ? 0 : r];
  }
  return copy;
}

void Batch::check_wanted(std::size_t row, std::span<const std::int64_t> wanted) const {
  const std::int64_t length = rows_.length(static_cast<std::int64_t>(row));
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const std::int64_t token = wanted[i];
    const bool ascending = i == 0 || wanted[i - 1] < token;
    if (token >= 0 && token < length && ascending) continue;
    throw Error(ErrorCode::argument, "batch",
                "rows lists token " + std::to_string(token + 1) + " of row " +
                    std::to_string(row + 1) +
                    (ascending ? ", which has " + std::to_string(length) + " tokens"
                               : " after token " + std::to_string(wanted[i - 1] + 1) +
                                     "; list tokens in ascending order, each once"));
  }
}

void Batch::append_wanted(std::int64_t row, RowSelection by_default, std::int64_t first,
                          std::vector<std::int64_t>& offsets) const {
  const RowSelection selection = selection_or(by_default);
  if (selection == RowSelection::listed) {
    for (const std::int64_t offset : wanted_[static_cast<std::size_t>(row)]) {
      offsets.push_back(first + offset);
    }
    return;
  }
  const std::int64_t length = rows_.length(row);
  for (std::int64_t i = selection == RowSelection::last ? length - 1 : 0; i < length; ++i) {
    offsets.push_back(first + i);
  }
}

std::shared_ptr<const Batch> Batch::with_rows(RowSelection selection,
                                              std::vector<std::vector<std::int64_t>> wanted) const {
  if (selection == RowSelection::listed) {
    if (static_cast<std::int64_t>(wanted.size()) != size()) {
      throw Error(ErrorCode::argument, "batch",
                  "rows lists tokens of " + std::to_string(wanted.size()) +
                      " rows, the batch has " + std::to_string(size()));
    }
    for (std::size_t r = 0; r < wanted.size(); ++r) check_wanted(r, wanted[r]);
  } else if (!wanted.empty()) {
    throw Error(ErrorCode::argument, "batch", "tokens are listed, but rows is not a list");
  }
  auto copy = clone();
  copy->selection_ = selection;
  copy->wanted_ = std::move(wanted);
  return copy;
}

std::shared_ptr<const Batch> Batch::with_made_rows(const std::vector<RaggedRows>& made) const {
  auto copy = clone();
  copy->made_rows_ = made;
  return copy;
}

}  // namespace perilune
