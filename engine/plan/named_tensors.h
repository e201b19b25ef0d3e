// Tensors by the names that a pass gives its outputs, in their order.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "engine/tensor/tensor.h"

namespace perilune {

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

}  // namespace perilune
