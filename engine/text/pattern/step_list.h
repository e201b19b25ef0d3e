// Lists of steps in a tokenizer.json: normalizers, pre-tokenizers, post-processors, decoders.
#pragma once

#include <cstddef>
#include <vector>

#include "engine/base/json.h"

namespace perilune {

/// Published files have less than a hundred; every step costs every text.
constexpr std::size_t kMostSteps = 1024;

/// The steps of `list`. Throws Error(format) where they are too many.
const std::vector<Json>& steps_of(const Json& list);

}  // namespace perilune
