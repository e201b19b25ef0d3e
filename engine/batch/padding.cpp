// Padding: a view of a ragged batch at the edge.
#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/row_identity.h"
#include "engine/batch/batch.h"

namespace perilune {

namespace {

/// Checks one row of a mask and gives its first column and length.
std::pair<std::int64_t, std::int64_t> read_mask(const std::vector<std::int32_t>& mask,
                                                std::size_t row, const std::string& op) {
  const std::string name = "the mask of row " + std::to_string(row + 1);
  std::int64_t first = -1, end = -1;
  for (std::size_t i = 0; i < mask.size(); ++i) {
    if (mask[i] != 0 && mask[i] != 1) {
      throw Error(ErrorCode::argument, op,
                  name + " holds " + std::to_string(mask[i]) + " at position " +
                      std::to_string(i + 1) + "; only 0 and 1 are allowed");
    }
    if (mask[i] == 0) continue;
    const auto at = static_cast<std::int64_t>(i);
    if (first < 0) first = at;
    if (end >= 0 && end != at) {
      throw Error(
          ErrorCode::argument, op,
          name + " has a hole at position " + std::to_string(end + 1) + " (tokens on both sides)")
          .hint("padding stands before or after a row's tokens, never between them");
    }
    end = at + 1;
  }
  if (first < 0) {
    throw Error(ErrorCode::argument, op, name + " has no token").hint("leave the row out");
  }
  return {first, end - first};
}

}  // namespace

std::shared_ptr<const Batch> Batch::from_padded(const std::shared_ptr<Context>& context,
                                                const std::vector<std::vector<std::int32_t>>& ids,
                                                const std::vector<std::vector<std::int32_t>>& mask,
                                                const std::string& op) {
  if (ids.empty()) throw Error(ErrorCode::argument, op, "no rows");
  if (ids.size() != mask.size()) {
    throw Error(ErrorCode::shape, op,
                "ids and mask have different numbers of rows (" + std::to_string(ids.size()) +
                    " vs " + std::to_string(mask.size()) + ")");
  }
  std::vector<std::vector<std::int32_t>> rows;
  PaddedLayout layout;
  layout.width = static_cast<std::int64_t>(ids[0].size());
  for (std::size_t r = 0; r < ids.size(); ++r) {
    if (ids[r].size() != ids[0].size()) {
      throw Error(ErrorCode::shape, op,
                  "row " + std::to_string(r + 1) + " has " + std::to_string(ids[r].size()) +
                      " ids, row 1 has " + std::to_string(ids[0].size()))
          .hint("for rows of different lengths without padding use pl.batch(rows)");
    }
    if (mask[r].size() != ids[r].size()) {
      throw Error(ErrorCode::shape, op,
                  "row " + std::to_string(r + 1) + " has " + std::to_string(ids[r].size()) +
                      " ids and a mask of " + std::to_string(mask[r].size()));
    }
    const auto [first, length] = read_mask(mask[r], r, op);
    layout.first.push_back(first);
    rows.emplace_back(ids[r].begin() + first, ids[r].begin() + first + length);
  }
  return make(context, rows)->with_layout(std::move(layout));
}

std::shared_ptr<const Batch> Batch::with_layout(PaddedLayout layout) const {
  if (static_cast<std::int64_t>(layout.first.size()) != size()) {
    throw Error(ErrorCode::argument, "batch",
                "a padded layout of " + std::to_string(layout.first.size()) +
                    " rows for a batch of " + std::to_string(size()));
  }
  for (std::int64_t r = 0; r < size(); ++r) {
    const std::int64_t first = layout.first[static_cast<std::size_t>(r)];
    if (first < 0 || first > layout.width - rows_.length(r)) {
      throw Error(ErrorCode::argument, "batch",
                  "row " + std::to_string(r + 1) + " does not fit its padded layout: " +
                      std::to_string(rows_.length(r)) + " tokens from column " +
                      std::to_string(first + 1) + " of " + std::to_string(layout.width));
    }
  }
  auto copy = clone();
  copy->layout_ = std::move(layout);
  return copy;
}

Batch::PaddedLayout Batch::layout(const Padding& options) const {
  if (options.multiple_of < 1) {
    throw Error(
        ErrorCode::option, "padded",
        "multiple_of is " + std::to_string(options.multiple_of) + "; it must be at least 1");
  }
  if (options.to < 0) {
    throw Error(ErrorCode::option, "padded", "to is " + std::to_string(options.to));
  }
  PaddedLayout layout;
  layout.width = options.to == 0 ? rows_.longest() : options.to;
  const std::int64_t over = layout.width % options.multiple_of;
  if (over != 0) {
    const auto wider = checked_add(layout.width, options.multiple_of - over);
    if (!wider) throw Error(ErrorCode::option, "padded", "multiple_of is too large");
    layout.width = *wider;
  }
  for (std::int64_t r = 0; r < size(); ++r) {
    if (rows_.length(r) > layout.width) {
      throw Error(ErrorCode::length, "padded",
                  "row " + std::to_string(r + 1) + " has " + std::to_string(rows_.length(r)) +
                      " tokens, more than to=" + std::to_string(options.to))
          .hint("encode with truncate = { to = " + std::to_string(options.to) +
                " }, or pad with to=\"longest\"");
    }
    layout.first.push_back(options.left ? layout.width - rows_.length(r) : 0);
  }
  return layout;
}

Batch::Padded Batch::padded(const Padding& options) const {
  if (!has_ids()) throw Error(ErrorCode::state, "padded", "this batch holds no ids");
  Padded result;
  result.layout = layout(options);
  const std::int64_t width = result.layout.width;
  const auto cells = checked_multiply(size(), width);
  if (!cells) throw Error(ErrorCode::option, "padded", "the padded view is too large");
  const Shape shape{Axis{"batch", size(), batch_identity_}, Axis{"seq", width, 0}};
  // All memory is there before any of it is written.
  const std::pair<Tensor*, std::int32_t> views[] = {{&result.ids, options.pad_id},
                                                    {&result.mask, 0},
                                                    {&result.positions, 0},
                                                    {&result.type_ids, 0}};
  for (const auto& [view, filling] : views) *view = Tensor::make(context_, DType::i32, shape);
  for (const auto& [view, filling] : views) {
    std::fill_n(view->as<std::int32_t>(), *cells, filling);
  }
  for (std::int64_t r = 0; r < size(); ++r) {
    const std::int64_t to = r * width + result.layout.first[static_cast<std::size_t>(r)];
    const std::int64_t from = rows_.starts[static_cast<std::size_t>(r)];
    const std::int64_t count = rows_.length(r);
    std::copy_n(ids_.as<std::int32_t>() + from, count, result.ids.as<std::int32_t>() + to);
    std::fill_n(result.mask.as<std::int32_t>() + to, count, 1);
    std::copy_n(positions_.as<std::int32_t>() + from, count,
                result.positions.as<std::int32_t>() + to);
    std::copy_n(type_ids_.as<std::int32_t>() + from, count,
                result.type_ids.as<std::int32_t>() + to);
  }
  result.waste =
      *cells == 0 ? 0 : 1.0 - static_cast<double>(tokens()) / static_cast<double>(*cells);
  return result;
}

std::pair<int, const RaggedRows*> Batch::ragged_axis(std::string_view op,
                                                     const Tensor& ragged) const {
  const Shape& shape = ragged.shape();
  for (int i = 0; i < shape.rank(); ++i) {
    if (shape.axis(i).identity == 0) continue;
    if (shape.axis(i).identity == rows_.identity) return {i, &rows_};
    for (const std::vector<RaggedRows>* list : {&other_rows_, &made_rows_}) {
      for (const RaggedRows& other : *list) {
        if (shape.axis(i).identity == other.identity) return {i, &other};
      }
    }
  }
  const int found = shape.find(rows_.axis);
  if (found < 0) {
    throw Error(ErrorCode::shape, std::string(op), "the tensor has no axis " + rows_.axis)
        .operand("t", ragged.describe());
  }
  if (shape.axis(found).identity != 0) {
    throw Error(ErrorCode::shape, std::string(op),
                "axis " + rows_.axis + " belongs to another batch")
        .operand("t", ragged.describe() + whose_rows(shape.axis(found).identity))
        .operand("batch", std::to_string(tokens()) + " tokens" + whose_rows(rows_.identity))
        .hint(
            "use the batch that the tensor was computed from, or t:detach() where whose rows they "
            "are does not matter");
  }
  if (shape.size(found) != tokens()) {
    throw Error(ErrorCode::shape, std::string(op),
                "axis " + rows_.axis + " has " + std::to_string(shape.size(found)) +
                    ", the batch has " + std::to_string(tokens()) + " tokens")
        .operand("t", ragged.describe());
  }
  return {found, &rows_};
}

Tensor Batch::pad(const Tensor& ragged, const PaddedLayout& layout) const {
  const auto [axis, rows] = ragged_axis("pad", ragged);
  if (rows != &rows_) {
    throw Error(ErrorCode::shape, "pad", "the layout is of axis " + rows_.axis)
        .operand("t", ragged.describe());
  }
  if (static_cast<std::int64_t>(layout.first.size()) != size()) {
    throw Error(ErrorCode::argument, "pad", "the layout is another batch's");
  }
  std::vector<int> order{axis};
  for (int i = 0; i < ragged.shape().rank(); ++i) {
    if (i != axis) order.push_back(i);
  }
  const Tensor from = ragged.permute(order).to(context_->cpu_device()).to_contiguous();
  std::vector<Axis> axes{Axis{"batch", size(), batch_identity_}, Axis{"seq", layout.width, 0}};
  for (int i = 1; i < from.shape().rank(); ++i) axes.push_back(from.shape().axis(i));
  Tensor out = Tensor::zeros(context_, from.dtype(), Shape(axes));
  const std::int64_t total = tokens();
  const std::size_t unit = total == 0 ? 0 : from.bytes() / static_cast<std::size_t>(total);
  if (unit == 0) return out;
  for (std::int64_t r = 0; r < size(); ++r) {
    const auto row = static_cast<std::size_t>(r);
    const std::int64_t first = layout.first[row];
    if (first < 0 || first > layout.width - rows_.length(r)) {
      throw Error(ErrorCode::argument, "pad",
                  "row " + std::to_string(r + 1) + " does not fit the layout");
    }
    const auto to = static_cast<std::size_t>(r * layout.width + first) * unit;
    const auto begin = static_cast<std::size_t>(rows_.starts[row]) * unit;
    std::memcpy(out.as<unsigned char>() + to, from.as<unsigned char>() + begin,
                static_cast<std::size_t>(rows_.length(r)) * unit);
  }
  return out;
}

std::vector<Tensor> Batch::split(const Tensor& ragged) const {
  const auto [axis, rows] = ragged_axis("split", ragged);
  std::vector<Tensor> parts;
  parts.reserve(static_cast<std::size_t>(size()));
  for (std::int64_t r = 0; r < size(); ++r) {
    const Tensor part =
        ragged.slice(axis, rows->starts[static_cast<std::size_t>(r)], rows->length(r));
    Axis own = part.shape().axis(axis);
    own.identity = 0;
    parts.push_back(part.with_shape(part.shape().with_axis(axis, own)));
  }
  return parts;
}

}  // namespace perilune
