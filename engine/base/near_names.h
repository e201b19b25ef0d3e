// What to say of a name that is not known: the nearest by letters or by meaning, or what there is.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/base/error.h"  // nearest, did_you_mean

namespace perilune {

/// did_you_mean; where nothing is near, `known` as "options are a, b" (`what` is "options"), or
/// where to read of them (perilune help OP) when they are too many to help.
std::string unknown_name_hint(std::string_view word, const std::vector<std::string>& known,
                              std::string_view what, std::string_view op);

}  // namespace perilune
