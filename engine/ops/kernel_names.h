// The kernels' names that stand in the engine's own functions, for those above the engine: which
// function of two or one, which sum, which mask, which arithmetic.
#pragma once

#include "kernels/kernel_table.h"

namespace perilune {

using kernels::Binary;
using kernels::Mask;
using kernels::MathMode;
using kernels::Reduce;
using kernels::Unary;

/// Axes that a tensor has at most.
using kernels::kMaxAxes;
/// Positions in the smallest page of keys and values; pages are multiples of it.
using kernels::kKvBlock;

}  // namespace perilune
