// Which characters the published accent strippers take for marks: their tables are older than ours.
#pragma once

#include "engine/text/unicode/unicode.h"

namespace perilune {

/// What StripAccents takes out: \p{M} of Unicode 9.
bool is_published_mark(char32_t value);
/// What BertNormalizer takes out with strip_accents: \p{Mn} of Unicode 8.
bool is_published_nonspacing_mark(char32_t value);
/// What BertNormalizer takes out with clean_text: Cc, Cf and Co of Unicode 8, U+0000 and U+FFFD,
/// but not tab, line feed and carriage return. What is not assigned stays.
bool is_published_control(char32_t value);

}  // namespace perilune
