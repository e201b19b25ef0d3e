// The sizes of a shape as kernels want them. They merge axes by themselves.
#pragma once

#include "engine/base/shape.h"
#include "kernels/kernel_table.h"

namespace perilune {

/// Writes the sizes of a shape's axes; how many they are.
inline int fill_sizes(const Shape& shape, std::int64_t (&sizes)[kernels::kMaxAxes]) {
  for (int i = 0; i < shape.rank(); ++i) sizes[i] = shape.size(i);
  return shape.rank();
}

}  // namespace perilune
