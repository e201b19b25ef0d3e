// What scripts do with several tensors, and with their values as numbers.
#include <cmath>
#include <limits>

#include "engine/base/row_identity.h"
#include "engine/ops/elementwise.h"
#include "engine/program/value_math.h"

namespace perilune::tensor_ops {

namespace {

std::string size_of(const Tensor& tensor, const std::string& axis) {
  return axis + "=" + std::to_string(tensor.shape().size(tensor.shape().find(axis)));
}

void expect_some(const char* op, const std::vector<Tensor>& list, const std::string& where) {
  if (!list.empty()) return;
  throw Error(ErrorCode::argument, op, "the list is empty").where(where);
}

/// The other tensors' axes as the first one orders them; throws where names or devices differ.
void expect_same_axes(const char* op, const std::vector<Tensor>& list, const std::string& where) {
  for (std::size_t i = 1; i < list.size(); ++i) {
    if (&list[i].device() != &list[0].device()) {
      throw Error(ErrorCode::device, op, "tensors are on different devices")
          .operand("tensor 1", list[0].describe())
          .operand("tensor " + std::to_string(i + 1), list[i].describe())
          .where(where)
          .hint("move one with :to(\"" + list[0].device().name() + "\")");
    }
    bool same = list[i].shape().rank() == list[0].shape().rank();
    for (const Axis& axis : list[0].shape().axes()) {
      same = same && list[i].shape().find(axis.name) >= 0;
    }
    if (same && list[i].dtype() == list[0].dtype()) continue;
    throw Error(same ? ErrorCode::dtype : ErrorCode::shape, op,
                same ? "all tensors must have one dtype" : "all tensors must have the same axes")
        .operand("tensor 1", list[0].describe())
        .operand("tensor " + std::to_string(i + 1), list[i].describe())
        .where(where)
        .hint(same ? "convert with :to(dtype)" : "rename or expand the one that differs");
  }
}

/// How many of the tensors before `i` agree with the first: "tensor 1 has" or "tensors 1-2 have".
std::string earlier(std::size_t i) {
  return i == 1 ? "tensor 1 has " : "tensors 1-" + std::to_string(i) + " have ";
}

Tensor part_of(const Tensor& whole, int axis, std::int64_t first, std::int64_t count) {
  return whole.slice(axis, first, count);
}

void copy_values(const Tensor& target, const Tensor& source) {
  copy_into(target.device().kernels(), target.device().launch(), target,
            source.to(target.storage()->device()));
}

}  // namespace

Tensor cat(const std::vector<Tensor>& list, const std::string& axis, const std::string& where) {
  expect_some("cat", list, where);
  const Shape& first = list[0].shape();
  if (first.find(axis) < 0) {
    try {
      first.index("cat", axis);
    } catch (Error& error) {
      error.where(where);
      if (error.hint().empty()) error.hint("pl.stack(list, \"" + axis + "\") makes a new axis");
      throw;
    }
  }
  expect_same_axes("cat", list, where);
  std::int64_t total = 0;
  for (std::size_t i = 0; i < list.size(); ++i) {
    for (const Axis& own : first.axes()) {
      const Axis& other = list[i].shape().axis(list[i].shape().find(own.name));
      if (own.name == axis || axes_agree(own, other)) continue;
      const bool batches = own.size == other.size;
      throw Error(ErrorCode::shape, "cat",
                  axis + ": every other axis must agree: tensor " + std::to_string(i + 1) +
                      " has " + size_of(list[i], own.name) + ", " + earlier(i) +
                      size_of(list[0], own.name) + (batches ? " of another batch" : ""))
          .operand("tensor 1", list[0].describe() + whose_rows(own.identity))
          .operand("tensor " + std::to_string(i + 1),
                   list[i].describe() + whose_rows(other.identity))
          .where(where)
          .hint(batches ? std::string(kTwoBatchesHint)
                        : "pad both with batch:pad, cut with pl.clamp_to_shortest(list, \"" +
                              own.name + "\"), or keep them ragged in one pl.batch");
    }
    total += list[i].shape().size(list[i].shape().find(axis));
  }
  const int index = first.find(axis);
  Tensor result =
      Tensor::make(list[0].context(), list[0].dtype(), first.with_axis(index, {axis, total, 0}),
                   list[0].storage()->device());
  std::int64_t at = 0;
  for (const Tensor& tensor : list) {
    const std::int64_t count = tensor.shape().size(tensor.shape().find(axis));
    copy_values(part_of(result, index, at, count), tensor);
    at += count;
  }
  return result;
}

namespace {

/// "; rows 5, 7 differ too": the rows after `after` that are not as long as the first.
std::string others_text(const std::vector<Tensor>& list, const Axis& own, std::size_t after) {
  constexpr std::size_t kShown = 6;
  std::vector<std::string> rows;
  std::size_t more = 0;
  for (std::size_t i = after + 1; i < list.size(); ++i) {
    const Shape& shape = list[i].shape();
    if (shape.size(shape.find(own.name)) == own.size) continue;
    if (rows.size() < kShown) {
      rows.push_back(std::to_string(i + 1));
    } else {
      ++more;
    }
  }
  if (rows.empty()) return "";
  std::string text = rows.size() == 1 ? "; row " : "; rows ";
  for (std::size_t i = 0; i < rows.size(); ++i) text += (i == 0 ? "" : ", ") + rows[i];
  if (more != 0) text += " and " + std::to_string(more) + " more";
  return text + (rows.size() == 1 ? " differs too" : " differ too");
}

}  // namespace

Tensor stack(const std::vector<Tensor>& list, const std::string& axis, const std::string& where) {
  expect_some("stack", list, where);
  expect_same_axes("stack", list, where);
  const Shape& first = list[0].shape();
  for (std::size_t i = 1; i < list.size(); ++i) {
    for (const Axis& own : first.axes()) {
      const Axis& other = list[i].shape().axis(list[i].shape().find(own.name));
      if (own.size == other.size) continue;
      const std::string rows = i == 1 ? "row 1 has " : "rows 1-" + std::to_string(i) + " have ";
      throw Error(ErrorCode::shape, "stack",
                  "row " + std::to_string(i + 1) + " has " + size_of(list[i], own.name) + ", " +
                      rows + std::to_string(own.size) + others_text(list, own, i))
          .operand("row 1", list[0].describe())
          .operand("row " + std::to_string(i + 1), list[i].describe())
          .where(where)
          .hint("use pl.batch(rows):padded{side=\"left\"}, cut with pl.clamp_to_shortest(rows, \"" +
                own.name + "\"), or keep it ragged with pl.batch(rows)");
    }
  }
  std::vector<Axis> axes{{axis, static_cast<std::int64_t>(list.size()), 0}};
  for (const Axis& own : first.axes()) {
    axes.push_back({own.name, own.size, list.size() == 1 ? own.identity : 0});
  }
  Tensor result =
      Tensor::make(list[0].context(), list[0].dtype(), Shape(axes), list[0].storage()->device());
  for (std::size_t i = 0; i < list.size(); ++i) {
    copy_values(result.pick(0, static_cast<std::int64_t>(i)), list[i]);
  }
  return result;
}

std::pair<std::vector<Tensor>, std::vector<std::int64_t>> clamp_to_shortest(
    const std::vector<Tensor>& list, const std::string& axis, const std::string& where) {
  expect_some("clamp_to_shortest", list, where);
  std::int64_t shortest = std::numeric_limits<std::int64_t>::max();
  try {
    for (const Tensor& tensor : list) {
      const int index = tensor.shape().index("clamp_to_shortest", axis);
      shortest = std::min(shortest, tensor.shape().size(index));
    }
  } catch (Error& error) {
    error.where(where);
    throw;
  }
  std::pair<std::vector<Tensor>, std::vector<std::int64_t>> result;
  for (const Tensor& tensor : list) {
    const int index = tensor.shape().find(axis);
    result.first.push_back(tensor.slice(index, 0, shortest));
    result.second.push_back(tensor.shape().size(index) - shortest);
  }
  return result;
}

// ---------------------------------------------------------------- writing

void assign(const Tensor& target, const Tensor& source, const std::string& where) {
  if (target.read_only()) {
    throw Error(ErrorCode::state, "set", "this tensor is read-only")
        .operand("tensor", target.describe())
        .where(where)
        .hint("weights, caches and expanded views are never written; :copy() it first");
  }
  bool fits = true;
  for (const Axis& axis : source.shape().axes()) {
    const int own = target.shape().find(axis.name);
    fits = fits && own >= 0 && (axis.size == 1 || axis.size == target.shape().size(own));
  }
  if (!fits) {
    throw Error(ErrorCode::shape, "set", "the value does not fit")
        .operand("target", target.describe())
        .operand("value", source.describe())
        .where(where);
  }
  copy_values(target, source.storage() == target.storage() ? source.copy() : source);
  target.storage()->update_mirrors();
}

void assign(const Tensor& target, double number, const std::string& where) {
  Tensor value;
  if (is_float(target.dtype())) {
    const float narrow = static_cast<float>(number);
    value = Tensor::from(target.context(), std::span(&narrow, 1), Shape());
  } else {
    const auto whole = static_cast<std::int64_t>(number);
    if (!(std::floor(number) == number && std::fabs(number) < 9.0e15)) {
      throw Error(ErrorCode::argument, "set", "an integer tensor takes whole numbers")
          .operand("tensor", target.describe())
          .where(where);
    }
    value = Tensor::from(target.context(), std::span(&whole, 1), Shape());
  }
  assign(target, value, where);
}

// ---------------------------------------------------------------- comparing

namespace {

bool same_number(double a, double b) {
  return a == b || (std::isnan(a) && std::isnan(b));
}

Tensor as_ordered(const Tensor& b, const Tensor& a) {
  std::vector<int> order;
  for (const Axis& axis : a.shape().axes()) order.push_back(b.shape().find(axis.name));
  return b.permute(order);
}

}  // namespace

bool equal(const Tensor& a, const Tensor& b) {
  if (a.dtype() != b.dtype() || a.shape().rank() != b.shape().rank()) return false;
  for (int i = 0; i < a.shape().rank(); ++i) {
    const Axis &left = a.shape().axis(i), &right = b.shape().axis(i);
    if (left.name != right.name || left.size != right.size) return false;
  }
  if (is_float(a.dtype())) {
    const std::vector<float> left = a.to_floats(), right = b.to_floats();
    for (std::size_t i = 0; i < left.size(); ++i) {
      if (!same_number(left[i], right[i])) return false;
    }
    return true;
  }
  return a.to_integers() == b.to_integers();
}

double max_difference(const Tensor& a, const Tensor& b, const std::string& where) {
  bool fits = a.shape().rank() == b.shape().rank();
  for (const Axis& axis : a.shape().axes()) {
    const int other = b.shape().find(axis.name);
    fits = fits && other >= 0 && b.shape().size(other) == axis.size;
  }
  if (!fits) {
    throw Error(ErrorCode::shape, "close", "only tensors of one shape can be compared")
        .operand("a", a.describe())
        .operand("b", b.describe())
        .where(where);
  }
  const std::vector<double> left = a.to_doubles(), right = as_ordered(b, a).to_doubles();
  double largest = 0;
  for (std::size_t i = 0; i < left.size(); ++i) {
    if (same_number(left[i], right[i])) continue;
    const double difference = std::fabs(left[i] - right[i]);
    if (std::isnan(difference)) return std::numeric_limits<double>::infinity();
    largest = std::max(largest, difference);
  }
  return largest;
}

bool close(const Tensor& a, const Tensor& b, double tolerance, const std::string& where) {
  const double difference = max_difference(a, b, where);
  double scale = 1;
  for (const double value : b.to_doubles()) {
    if (std::isfinite(value)) scale = std::max(scale, std::fabs(value));
  }
  return difference <= tolerance * scale;
}

}  // namespace perilune::tensor_ops
