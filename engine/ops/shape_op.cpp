#include "engine/ops/shape_op.h"

#include <algorithm>

namespace perilune {

void ViewOp::run(OpRun&) const {
  throw Error(ErrorCode::internal, std::string(name()), "a view was run");
}

namespace {

/// Two lists of the same length: the axes of a view and what they stride.
struct Layout {
  std::vector<Axis> axes;
  Tensor::Strides strides{};

  void push(Axis axis, std::int64_t stride) {
    if (axes.size() < strides.size()) strides[axes.size()] = stride;
    axes.push_back(std::move(axis));
  }
  Tensor of(const Tensor& x, std::int64_t offset) const {
    Tensor view(x.storage(), x.dtype(), Shape(axes), strides, offset);
    return x.read_only() ? view.as_read_only() : view;
  }
};

std::int64_t stride_of(const Tensor& x, int axis) {
  return x.strides()[static_cast<std::size_t>(axis)];
}

void expect_static(std::string_view op, const TensorSpec& x, const Axis& axis) {
  if (!axis.symbolic()) return;
  throw Error(ErrorCode::shape, std::string(op),
              "the size of axis \"" + axis.name + "\" is not known while a pass is traced")
      .operand("x", x.text())
      .hint("net:select picks one token of each row");
}

std::string position_text(const std::string& axis, std::int64_t position) {
  return std::to_string(position + (is_id_axis(axis) ? 0 : 1));
}

void check_range(const TensorSpec& x, const AxisRange& range) {
  const Axis& axis = x.shape.axis(x.shape.index("at", range.axis));
  expect_static("at", x, axis);
  const bool fits = range.first >= 0 && range.count >= 0 && range.first <= axis.size &&
                    range.count <= axis.size - range.first && (!range.drop || range.count == 1);
  if (fits) return;
  const bool ids = is_id_axis(axis.name);
  std::string asked = position_text(axis.name, range.first);
  if (!range.drop)
    asked = "{" + asked + ", " + position_text(axis.name, range.first + range.count - 1) + "}";
  throw Error(ErrorCode::argument, "at", axis.name + "=" + asked + " is out of range")
      .operand("x", x.text())
      .hint(axis.size == 0 ? "the axis is empty"
                           : axis.name + " goes from " + (ids ? "0 to " : "1 to ") +
                                 std::to_string(axis.size - (ids ? 1 : 0)));
}

}  // namespace

// ---------------------------------------------------------------- at

std::vector<TensorSpec> AtOp::infer(std::span<const TensorSpec> inputs) const {
  expect_inputs("at", inputs, 1);
  const TensorSpec& x = inputs[0];
  std::vector<Axis> axes(x.shape.axes().begin(), x.shape.axes().end());
  std::vector<bool> keep(axes.size(), true);
  for (const AxisRange& range : ranges_) {
    check_range(x, range);
    const auto i = static_cast<std::size_t>(x.shape.index("at", range.axis));
    keep[i] = !range.drop;
    // A cut axis is no longer the batch's.
    if (range.count != axes[i].size) axes[i].identity = 0;
    axes[i].size = range.count;
  }
  std::vector<Axis> kept;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    if (keep[i]) kept.push_back(axes[i]);
  }
  return {{x.dtype, Shape(kept), false}};
}

std::optional<Tensor> AtOp::view(std::span<const Tensor> inputs) const {
  const Tensor& x = inputs[0];
  std::int64_t offset = x.offset();
  Layout layout;
  for (int i = 0; i < x.shape().rank(); ++i) {
    Axis axis = x.shape().axis(i);
    bool keep = true;
    for (const AxisRange& range : ranges_) {
      if (range.axis != axis.name) continue;
      offset += range.first * stride_of(x, i);
      if (range.count != axis.size) axis.identity = 0;
      axis.size = range.count;
      keep = !range.drop;
    }
    if (keep) layout.push(axis, stride_of(x, i));
  }
  return layout.of(x, offset);
}

// ---------------------------------------------------------------- split_axis, merge

std::vector<TensorSpec> SplitAxisOp::infer(std::span<const TensorSpec> inputs) const {
  expect_inputs("split_axis", inputs, 1);
  const TensorSpec& x = inputs[0];
  const int index = x.shape.index("split_axis", axis_);
  const Axis& axis = x.shape.axis(index);
  expect_static("split_axis", x, axis);
  std::int64_t known = 1;
  int unknown = 0;
  std::string sizes;
  for (const Axis& part : parts_) {
    unknown += part.size == 0 ? 1 : 0;
    if (part.size == 0) continue;
    known *= part.size;
    sizes += (sizes.empty() ? "" : ", ") + part.name + "=" + std::to_string(part.size);
  }
  if (unknown > 1) {
    throw Error(ErrorCode::argument, "split_axis", "more than one size is left open")
        .operand("x", x.text())
        .hint("give all sizes but one: { head=8 }");
  }
  if (known <= 0 || (unknown == 1 ? axis.size % known != 0 : axis.size != known)) {
    const std::string whole = axis_ + "=" + std::to_string(axis.size);
    throw Error(ErrorCode::shape, "split_axis",
                unknown == 1 ? whole + " is not a multiple of " + sizes
                             : whole + " is not the product of " + sizes)
        .operand("x", x.text())
        .hint("the parts must multiply to the axis they come from");
  }
  std::vector<Axis> axes;
  for (int i = 0; i < x.shape.rank(); ++i) {
    if (i != index) {
      axes.push_back(x.shape.axis(i));
      continue;
    }
    for (const Axis& part : parts_) {
      axes.push_back({part.name, part.size == 0 ? axis.size / known : part.size, 0});
    }
  }
  return {{x.dtype, Shape(axes), false}};
}

std::optional<Tensor> SplitAxisOp::view(std::span<const Tensor> inputs) const {
  const Tensor& x = inputs[0];
  const TensorSpec spec = x.spec();
  const Shape shape = infer(std::span(&spec, 1)).front().shape;
  const int index = x.shape().find(axis_);
  Layout layout;
  for (int i = 0; i < shape.rank(); ++i) {
    const bool before = i < index, part = !before && i < index + static_cast<int>(parts_.size());
    std::int64_t stride = 0;
    if (part) {
      stride = stride_of(x, index);
      for (int j = i + 1; j < index + static_cast<int>(parts_.size()); ++j) {
        stride *= shape.size(j);
      }
    } else {
      stride = stride_of(x, before ? i : i - static_cast<int>(parts_.size()) + 1);
    }
    layout.push(shape.axis(i), stride);
  }
  return layout.of(x, x.offset());
}

int MergeOp::first(const TensorSpec& x) const {
  if (axes_.empty()) throw Error(ErrorCode::argument, "merge", "no axes were named");
  const int first = x.shape.index("merge", axes_.front());
  for (std::size_t i = 0; i < axes_.size(); ++i) {
    const int index = x.shape.index("merge", axes_[i]);
    if (axes_.size() > 1) expect_static("merge", x, x.shape.axis(index));
    if (index == first + static_cast<int>(i)) continue;
    throw Error(ErrorCode::shape, "merge", "the axes must be neighbours, outermost first")
        .operand("x", x.text())
        .hint("bring them together with :order(...)");
  }
  return first;
}

std::vector<TensorSpec> MergeOp::infer(std::span<const TensorSpec> inputs) const {
  expect_inputs("merge", inputs, 1);
  const TensorSpec& x = inputs[0];
  const int begin = first(x);
  const int end = begin + static_cast<int>(axes_.size());
  std::vector<Axis> axes;
  for (int i = 0; i < x.shape.rank(); ++i) {
    if (i < begin || i >= end) axes.push_back(x.shape.axis(i));
    if (i == begin) {
      axes.push_back({merged_, x.shape.size(i), end - begin == 1 ? x.shape.axis(i).identity : 0});
    }
    if (i > begin && i < end) axes.back().size *= x.shape.size(i);
  }
  return {{x.dtype, Shape(axes), false}};
}

bool MergeOp::possible(const Tensor& x) const {
  const int begin = first(x.spec());
  for (int i = begin; i + 1 < begin + static_cast<int>(axes_.size()); ++i) {
    if (x.shape().size(i) != 1 && stride_of(x, i) != stride_of(x, i + 1) * x.shape().size(i + 1)) {
      return false;
    }
  }
  return true;
}

std::optional<Tensor> MergeOp::view(std::span<const Tensor> inputs) const {
  const TensorSpec spec = inputs[0].spec();
  return inputs[0].with_shape(infer(std::span(&spec, 1)).front().shape);
}

// ---------------------------------------------------------------- names and order

std::vector<TensorSpec> RenameOp::infer(std::span<const TensorSpec> inputs) const {
  expect_inputs("rename", inputs, 1);
  const Shape& shape = inputs[0].shape;
  std::vector<Axis> axes(shape.axes().begin(), shape.axes().end());
  for (const auto& [from, to] : names_) {
    axes[static_cast<std::size_t>(shape.index("rename", from))].name = to;
  }
  return {{inputs[0].dtype, Shape(axes), false}};
}

std::optional<Tensor> RenameOp::view(std::span<const Tensor> inputs) const {
  const TensorSpec spec = inputs[0].spec();
  return inputs[0].with_shape(infer(std::span(&spec, 1)).front().shape);
}

std::vector<TensorSpec> OrderOp::infer(std::span<const TensorSpec> inputs) const {
  expect_inputs("order", inputs, 1);
  const TensorSpec& x = inputs[0];
  std::vector<Axis> axes;
  for (const std::string& name : names_) {
    axes.push_back(x.shape.axis(x.shape.index("order", name)));
  }
  if (static_cast<int>(axes.size()) != x.shape.rank()) {
    throw Error(
        ErrorCode::argument, "order",
        "names " + std::to_string(axes.size()) + " of " + std::to_string(x.shape.rank()) + " axes")
        .operand("x", x.text())
        .hint("name every axis once");
  }
  return {{x.dtype, Shape(axes), false}};
}

std::optional<Tensor> OrderOp::view(std::span<const Tensor> inputs) const {
  const Tensor& x = inputs[0];
  Layout layout;
  for (const std::string& name : names_) {
    const int i = x.shape().index("order", name);
    layout.push(x.shape().axis(i), stride_of(x, i));
  }
  return layout.of(x, x.offset());
}

// ---------------------------------------------------------------- expand, squeeze

std::vector<TensorSpec> ExpandOp::infer(std::span<const TensorSpec> inputs) const {
  expect_inputs("expand", inputs, 1);
  const TensorSpec& x = inputs[0];
  if (size_ < 0) {
    throw Error(ErrorCode::argument, "expand", "a size below 0").operand("x", x.text());
  }
  const int index = x.shape.find(axis_);
  std::vector<Axis> axes(x.shape.axes().begin(), x.shape.axes().end());
  if (index < 0) {
    axes.insert(axes.begin(), Axis{axis_, size_, 0});
  } else if (axes[static_cast<std::size_t>(index)].size != 1) {
    throw Error(ErrorCode::shape, "expand",
                "only an axis of size 1 can be repeated, " + axis_ + " has " +
                    std::to_string(axes[static_cast<std::size_t>(index)].size))
        .operand("x", x.text());
  } else {
    axes[static_cast<std::size_t>(index)] = Axis{axis_, size_, 0};
  }
  return {{x.dtype, Shape(axes), false}};
}

std::optional<Tensor> ExpandOp::view(std::span<const Tensor> inputs) const {
  const Tensor& x = inputs[0];
  Layout layout;
  if (x.shape().find(axis_) < 0) layout.push({axis_, size_, 0}, 0);
  for (int i = 0; i < x.shape().rank(); ++i) {
    const bool expanded = x.shape().axis(i).name == axis_;
    layout.push(expanded ? Axis{axis_, size_, 0} : x.shape().axis(i),
                expanded ? 0 : stride_of(x, i));
  }
  // Several elements of such a view are one in memory: it is not for writing.
  return layout.of(x, x.offset()).as_read_only();
}

bool SqueezeOp::drops(const Axis& axis) const {
  return axis_.empty() ? axis.size == 1 && axis.identity == 0 : axis.name == axis_;
}

std::vector<TensorSpec> SqueezeOp::infer(std::span<const TensorSpec> inputs) const {
  expect_inputs("squeeze", inputs, 1);
  const TensorSpec& x = inputs[0];
  if (!axis_.empty()) {
    const Axis& axis = x.shape.axis(x.shape.index("squeeze", axis_));
    expect_static("squeeze", x, axis);
    if (axis.size != 1) {
      throw Error(ErrorCode::shape, "squeeze",
                  axis_ + " has size " + std::to_string(axis.size) + ", not 1")
          .operand("x", x.text())
          .hint("pick one of them with at{ " + axis_ + "=n }");
    }
  }
  std::vector<Axis> axes;
  for (const Axis& axis : x.shape.axes()) {
    if (!drops(axis)) axes.push_back(axis);
  }
  return {{x.dtype, Shape(axes), false}};
}

std::optional<Tensor> SqueezeOp::view(std::span<const Tensor> inputs) const {
  const Tensor& x = inputs[0];
  Layout layout;
  for (int i = 0; i < x.shape().rank(); ++i) {
    if (!drops(x.shape().axis(i))) layout.push(x.shape().axis(i), stride_of(x, i));
  }
  return layout.of(x, x.offset());
}

}  // namespace perilune
