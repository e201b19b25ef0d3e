// Texts in which some words never occur.
#pragma once

#include <string>
#include <vector>

#include "engine/constrain/grammar.h"

namespace perilune {

/// All texts that hold none of `words`. Throws Error(option) for words that are empty or no UTF-8,
/// Error(length) for too many.
Grammar grammar_without(const std::vector<std::string>& words);

}  // namespace perilune
