// What is asked of characters, as bits.
#pragma once

#include <cstdint>

namespace perilune {

/// Bits of character_flags.
enum CharacterFlag : std::uint16_t {
  kLetter = 1,           // \p{L}
  kNumber = 2,           // \p{N}: also what Rust's is_numeric says
  kDecimal = 4,          // \p{Nd}
  kMark = 8,             // \p{M}
  kPunctuation = 16,     // \p{P}
  kSymbol = 32,          // \p{S}
  kWhiteSpace = 64,      // property White_Space: what \s means
  kUpper = 128,          // \p{Lu}
  kLower = 256,          // \p{Ll}
  kWord = 512,           // \w of UTS 18: Alphabetic, M, Nd, Pc, Join_Control
  kControl = 1024,       // \p{C}: Cc, Cf, Cn, Co, Cs
  kTitleOrOther = 2048,  // \p{Lt}, \p{Lm}, \p{Lo}
};

}  // namespace perilune
