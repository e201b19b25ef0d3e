// How much JSON is read as settings.
#pragma once

#include "engine/base/json.h"

namespace perilune {

/// For config.json and its like, which people write and programs keep whole.
inline constexpr JsonLimits kSettingsLimits{.max_bytes = std::size_t{32} << 20};

}  // namespace perilune
