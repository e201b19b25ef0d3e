// Characters of Unicode 15.1 and 16, which utf8proc may not know; published tokenizers do.
#pragma once

#include <cstdint>

namespace perilune {

/// The flags of a character that came after Unicode 15.0 (CharacterFlag); 0 for any other.
std::uint16_t newer_character_flags(char32_t value);

}  // namespace perilune
