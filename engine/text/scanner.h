// The regular expressions that published tokenizers cut text by, as scanners: one step for each
// character, no backtracking. And the general expressions, through PCRE2.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "engine/text/pattern.h"

namespace perilune {

/// The scanner of exactly this source; null where it is none of the known ones.
std::unique_ptr<Pattern> known_scanner(std::string_view source);

/// Any other expression. Throws Error(format) naming `place` and where in the source it fails.
std::unique_ptr<Pattern> pcre_pattern(const std::string& source, std::string_view place);

}  // namespace perilune
