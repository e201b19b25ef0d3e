// Batches made of other batches' rows.
#include <algorithm>

#include "engine/base/error.h"
#include "engine/batch/batch.h"

namespace perilune {

namespace {

/// Rows of `source` (first axis ragged) named by `picked`, end to end, with `shape`.
Tensor gather_ragged(const Tensor& source, const RaggedRows& rows,
                     const std::vector<std::int64_t>& picked, const RaggedRows& result) {
  const Tensor from = source.to(source.context()->cpu_device()).to_contiguous();
  Axis axis = from.shape().axis(0);
  axis.size = result.total();
  axis.identity = result.identity;
  Tensor out = Tensor::make(from.context(), from.dtype(), from.shape().with_axis(0, axis));
  const std::int64_t total = rows.total();
  const std::size_t unit = total == 0 ? 0 : from.bytes() / static_cast<std::size_t>(total);
  auto* to = out.as<unsigned char>();
  const auto* data = from.as<unsigned char>();
  for (std::int64_t row : picked) {
    const std::size_t bytes = static_cast<std::size_t>(rows.length(row)) * unit;
    const std::size_t first =
        static_cast<std::size_t>(rows.starts[static_cast<std::size_t>(row)]) * unit;
    if (bytes != 0) std::memcpy(to, data + first, bytes);
    to += bytes;
  }
  return out;
}

/// a's tokens followed by b's, with the identity of `result`.
Tensor join_ragged(const Tensor& a, const Tensor& b, const RaggedRows& result) {
  const auto cpu = a.context()->cpu_device();
  const Tensor first = a.to(cpu).to_contiguous(), second = b.to(cpu).to_contiguous();
  Axis axis = first.shape().axis(0);
  axis.size = result.total();
  axis.identity = result.identity;
  Tensor out = Tensor::make(first.context(), first.dtype(), first.shape().with_axis(0, axis));
  auto* to = out.as<unsigned char>();
  if (first.bytes() != 0) std::memcpy(to, first.data(), first.bytes());
  if (second.bytes() != 0) std::memcpy(to + first.bytes(), second.data(), second.bytes());
  return out;
}

std::vector<std::int64_t> joined_lengths(const RaggedRows& a, const RaggedRows& b) {
  std::vector<std::int64_t> lengths;
  for (const RaggedRows* rows : {&a, &b}) {
    for (std::int64_t r = 0; r < rows->rows(); ++r) lengths.push_back(rows->length(r));
  }
  return lengths;
}

/// The ragged axis of one of `batch`'s tensors, and its counterpart in a changed copy of the batch.
std::pair<const RaggedRows*, const RaggedRows*> matching_rows(const Tensor& tensor,
                                                              const Batch& batch,
                                                              const Batch& copy) {
  for (std::size_t i = 0; i < batch.other_rows().size(); ++i) {
    if (batch.other_rows()[i].identity == tensor.shape().axis(0).identity) {
      return {&batch.other_rows()[i], &copy.other_rows()[i]};
    }
  }
  return {&batch.rows(), &copy.rows()};
}

}  // namespace

std::shared_ptr<const Batch> Batch::select(const std::vector<std::int64_t>& rows) const {
  if (rows.empty()) throw Error(ErrorCode::argument, "select", "no rows");
  for (std::int64_t row : rows) {
    if (row >= 0 && row < size()) continue;
    throw Error(ErrorCode::argument, "select",
                "row " + std::to_string(row + 1) + " of a batch of " + std::to_string(size()));
  }
  const auto picked = [&](const RaggedRows& of) {
    std::vector<std::int64_t> lengths;
    for (std::int64_t row : rows) lengths.push_back(of.length(row));
    return lengths;
  };
  auto copy = clone();
  copy->made_rows_.clear();
  copy->set_rows(picked(rows_), rows_.axis);
  for (RaggedRows& other : copy->other_rows_) other = copy->new_rows(picked(other), other.axis);
  const auto take = [&](const Tensor& tensor) {
    const auto [from, to] = matching_rows(tensor, *this, *copy);
    return gather_ragged(tensor, *from, rows, *to);
  };
  if (has_ids()) copy->ids_ = take(ids_);
  copy->positions_ = take(positions_);
  copy->type_ids_ = take(type_ids_);
  for (auto& [name, tensor] : copy->inputs_) tensor = take(inputs_.at(name));
  copy->facts_.clear();
  copy->labels_.clear();
  copy->wanted_.clear();
  if (layout_) copy->layout_ = PaddedLayout{layout_->width, {}};
  for (std::int64_t row : rows) {
    const auto r = static_cast<std::size_t>(row);
    copy->facts_.push_back(facts_[r]);
    if (!labels_.empty()) copy->labels_.push_back(labels_[r]);
    if (!wanted_.empty()) copy->wanted_.push_back(wanted_[r]);
    if (layout_) copy->layout_->first.push_back(layout_->first[r]);
  }
  copy->identify_by_ids();
  return copy;
}

std::shared_ptr<const Batch> Batch::concat(const Batch& other) const {
  const auto mismatch = [&](const std::string& what) {
    return Error(ErrorCode::argument, "concat", "only one of the two batches has " + what);
  };
  if (has_ids() != other.has_ids()) throw mismatch("ids");
  if (rows_.axis != other.rows_.axis) {
    throw Error(ErrorCode::shape, "concat",
                "ragged axes differ: " + rows_.axis + " and " + other.rows_.axis);
  }
  if (labels_.empty() != other.labels_.empty()) throw mismatch("labels");
  if (selection_ != other.selection_) {
    throw Error(ErrorCode::argument, "concat", "the two batches ask for logits of different rows");
  }
  for (const auto& [name, tensor] : inputs_) {
    const auto found = other.inputs_.find(name);
    if (found == other.inputs_.end()) throw mismatch("input " + name);
    const Shape rest = tensor.shape().without_axis(0);
    if (tensor.dtype() != found->second.dtype() ||
        !(rest == found->second.shape().without_axis(0))) {
      throw Error(ErrorCode::shape, "concat", "input " + name + " differs")
          .operand("a", tensor.describe())
          .operand("b", found->second.describe());
    }
  }
  if (inputs_.size() != other.inputs_.size()) throw mismatch("some of the inputs");
  bool same_axes = other_rows_.size() == other.other_rows_.size();
  for (std::size_t i = 0; same_axes && i < other_rows_.size(); ++i) {
    same_axes = other_rows_[i].axis == other.other_rows_[i].axis;
  }
  if (!same_axes) throw mismatch("some of the ragged axes, in this order");

  auto copy = clone();
  copy->made_rows_.clear();
  copy->set_rows(joined_lengths(rows_, other.rows_), rows_.axis);
  for (std::size_t i = 0; i < other_rows_.size(); ++i) {
    copy->other_rows_[i] =
        copy->new_rows(joined_lengths(other_rows_[i], other.other_rows_[i]), other_rows_[i].axis);
  }
  if (has_ids()) copy->ids_ = join_ragged(ids_, other.ids_, copy->rows_);
  copy->positions_ = join_ragged(positions_, other.positions_, copy->rows_);
  copy->type_ids_ = join_ragged(type_ids_, other.type_ids_, copy->rows_);
  copy->has_positions_ = has_positions_ || other.has_positions_;
  copy->has_type_ids_ = has_type_ids_ || other.has_type_ids_;
  for (auto& [name, tensor] : copy->inputs_) {
    const Tensor& own = inputs_.at(name);
    tensor = join_ragged(own, other.inputs_.at(name), *matching_rows(own, *this, *copy).second);
  }
  const auto append = [](auto& to, const auto& from) {
    to.insert(to.end(), from.begin(), from.end());
  };
  append(copy->facts_, other.facts_);
  // Inputs of the other batch are other inputs.
  std::int64_t inputs = 0;
  for (const SequenceFacts& facts : facts_) inputs = std::max(inputs, facts.source + 1);
  for (std::size_t r = facts_.size(); r < copy->facts_.size(); ++r) {
    copy->facts_[r].source += inputs;
  }
  append(copy->labels_, other.labels_);
  append(copy->wanted_, other.wanted_);
  copy->layout_.reset();
  copy->identify_by_ids();
  return copy;
}

}  // namespace perilune
