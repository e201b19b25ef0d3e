// Arithmetic methods and operators of Tensor.
#pragma once

#include <vector>

#include "bindings/lua/edge/user_type.h"

namespace perilune::lua {

std::vector<Member> tensor_math_methods();
std::vector<Member> tensor_operators();

}  // namespace perilune::lua
