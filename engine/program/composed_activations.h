// Activations that no kernel computes at once, as ops that are there.
#pragma once

#include <string>

#include "engine/program/pass.h"

namespace perilune {

/// hardswish x * min(max(x + 3, 0), 6) / 6 (Howard et al. 2019, arXiv:1905.02244); sqrtsoftplus
/// sqrt(log(1 + exp(x))).
bool activation_composed(const std::string& name);
/// f32 of x's shape; `name` is one of those.
Value composed_activation(const Value& x, const std::string& name, const std::string& where);

/// What keeps an activation from being known that the published libraries have; "": nothing does.
std::string activation_lacks(const std::string& name);

}  // namespace perilune
