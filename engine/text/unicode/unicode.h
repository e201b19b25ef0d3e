// Characters and what Unicode says about them (utf8proc's Unicode, 15.0 or newer; flags: 16.0).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/base/utf8.h"
#include "engine/text/unicode/character_flags.h"

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
