// The regular expressions that published tokenizers cut text by, as scanners: a step or two for
// each character, no backtracking. And the general expressions, through PCRE2.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "engine/text/pattern/pattern.h"

namespace perilune {

/// The scanner of exactly this source; null where it is none of the known ones.
std::unique_ptr<Pattern> known_scanner(std::string_view source);

/// Any expression. Throws Error(format) naming `place` and where in the source it fails.
std::unique_ptr<Pattern> pcre_pattern(const std::string& source, std::string_view place);

// The scanners' makers, by family; null for a source of another.

/// Words, numbers, punctuation and white space (GPT-2, cl100k, o200k and their kin).
std::unique_ptr<Pattern> word_scanner(std::string_view source);
/// Runs of one class of characters (digits, Han, line ends).
std::unique_ptr<Pattern> run_scanner(std::string_view source);
/// What only CLIP or DeepSeek use, numbers in groups of three, grapheme clusters.
std::unique_ptr<Pattern> family_scanner(std::string_view source);

}  // namespace perilune
