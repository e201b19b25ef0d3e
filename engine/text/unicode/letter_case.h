// What Python's str says of letters: cases of whole texts and classes of characters.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace perilune {

enum class LetterCase {
  lower,       // str.lower: a capital sigma that ends a word becomes the final one
  upper,       // str.upper
  title,       // str.title: a capital where letters begin
  capitalize,  // str.capitalize
  swap,        // str.swapcase
  fold,        // str.casefold
};

/// `text` in another case, by Unicode's full mappings (a letter may become three). Bytes that are
/// not UTF-8 stay as they are.
std::string change_case(std::string_view text, LetterCase wanted);

/// What a character may be, named after Python's methods of str ("isalpha", …). A byte that is not
/// UTF-8 is none of them.
enum class CharacterClass {
  alpha,
  alnum,
  decimal,
  digit,
  numeric,
  space,
  printable,
  upper,
  lower,
  cased,
  identifier_start,
  identifier_part,
};

/// Whether every character of `text` is of a class; an empty text's are.
bool all_characters(std::string_view text, CharacterClass wanted);

/// By name: "lower", "fold", …; "alpha", "identifier_start", …. Nothing for an unknown one.
std::optional<LetterCase> letter_case(std::string_view name);
std::optional<CharacterClass> character_class(std::string_view name);

}  // namespace perilune
