// Which rows have their squares summed by pieces, so that a product can begin to.
#pragma once

#include "kernels/kernel_arguments.h"

namespace perilune::kernels {

/// Whole pieces of kSquared elements, at most kMostSquared elements. rms_norm on a device that
/// fuses_products sums such rows in the products' order, for the same bits fused and apart.
constexpr bool sums_squares_by_pieces(std::int64_t width) {
  return width > 0 && width % kSquared == 0 && width <= kMostSquared;
}

}  // namespace perilune::kernels
