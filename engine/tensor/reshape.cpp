// Other names and sizes for the same bytes.
#include "engine/tensor/tensor.h"

namespace perilune {
namespace {

/// Strides under which `sizes` walk the same elements in the same order as the old sizes and
/// strides do; nullopt where only a copy could. Old axes that lie end to end in memory form a
/// group; every new axis must fall inside one group.
std::optional<Tensor::Strides> strides_for(const Shape& old, const Tensor::Strides& old_strides,
                                           const Shape& now) {
  Tensor::Strides strides{};
  int next = now.rank() - 1;
  std::int64_t group_stride = 1, group_size = 1, filled = 1;
  for (int i = old.rank() - 1; i >= 0; --i) {
    if (group_size == 1) group_stride = old_strides[static_cast<std::size_t>(i)];
    group_size *= old.size(i);
    const bool goes_on =
        i > 0 && (old.size(i - 1) == 1 || group_size == 1 ||
                  old_strides[static_cast<std::size_t>(i - 1)] == group_size * group_stride);
    if (goes_on) continue;
    while (next >= 0 && (filled < group_size || now.size(next) == 1)) {
      strides[static_cast<std::size_t>(next)] = filled * group_stride;
      filled *= now.size(next);
      --next;
    }
    if (filled != group_size) return std::nullopt;
    group_size = filled = 1;
  }
  for (; next >= 0; --next) strides[static_cast<std::size_t>(next)] = 1;  // leading ones
  return strides;
}

}  // namespace

Tensor Tensor::with_shape(Shape shape) const {
  Tensor view = *this;
  bool same = shape.rank() == shape_.rank();
  for (int i = 0; same && i < shape.rank(); ++i) same = shape.size(i) == shape_.size(i);
  if (!same) {
    if (shape.elements() != elements()) {
      throw Error(ErrorCode::shape, "with_shape",
                  std::to_string(elements()) + " elements do not fill " + shape.text())
          .operand("tensor", describe());
    }
    if (contiguous()) {
      view.strides_ = row_major(shape);
    } else {
      const auto strides = strides_for(shape_, strides_, shape);
      if (!strides) {
        throw Error(
            ErrorCode::shape, "with_shape",
            "axes that do not lie next to each other in memory cannot become " + shape.text())
            .operand("tensor", describe())
            .hint("copy() it first");
      }
      view.strides_ = *strides;
    }
  }
  view.shape_ = std::move(shape);
  return view;
}

}  // namespace perilune
