// Characters and what Unicode says about them (utf8proc's Unicode, 15.0 or newer; flags: 16.0).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace perilune {

/// General categories in the order of utf8proc's.
enum class Category : std::uint8_t {
  Cn,
  Lu,
  Ll,
  Lt,
  Lm,
  Lo,
  Mn,
  Mc,
  Me,
  Nd,
  Nl,
  No,
  Pc,
  Pd,
  Ps,
  Pe,
  Pi,
  Pf,
  Po,
  Sm,
  Sc,
  Sk,
  So,
  Zs,
  Zl,
  Zp,
  Cc,
  Cf,
  Cs,
  Co
};

/// One character of a text and its length in bytes.
struct Character {
  char32_t value = 0;
  std::uint32_t size = 0;
};

/// The character at byte `at` of valid UTF-8; `at` is the start of one.
Character character_at(std::string_view text, std::size_t at);
void append_character(std::string& out, char32_t value);
/// Where the ASCII characters that begin at byte `at` end.
std::size_t ascii_end(std::string_view text, std::size_t at);
/// `text` with each maximal ill-formed subpart as U+FFFD (Unicode 3.9).
std::string replace_invalid_utf8(std::string_view text);

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
/// From a two-stage table that is made once (thread-safe); ASCII is one load.
std::uint16_t character_flags(char32_t value);
inline bool has_flag(char32_t value, std::uint16_t flags) {
  return (character_flags(value) & flags) != 0;
}
Category category(char32_t value);
/// The end of the grapheme cluster that begins at byte `at` of valid UTF-8 (Unicode Annex 29,
/// extended clusters).
std::size_t grapheme_end(std::string_view text, std::size_t at);
std::uint8_t combining_class(char32_t value);
/// Whether append_lower_case appends something other than the character.
bool has_lower_case(char32_t value);
/// Appends the full lower case of one character without context (U+0130 gives two).
void append_lower_case(std::string& out, char32_t value);
/// Simple case folding, for case-insensitive patterns.
char32_t fold_case(char32_t value);

}  // namespace perilune
