// A tensor made longer, or taken out of its batch.
#pragma once

#include <string>

#include "engine/tensor/tensor.h"

namespace perilune::tensor_ops {

/// A copy with `axis` made longer, to `size`, by `number`: after the values, or before them. The
/// axis loses its identity. Throws where it is longer already.
Tensor pad(const Tensor& x, const std::string& axis, std::int64_t size, bool before, double number,
           const std::string& where = "");
/// The same values, memory shared, whose axes are of no batch.
Tensor detach(const Tensor& x);

}  // namespace perilune::tensor_ops
