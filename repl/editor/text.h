// UTF-8 as a person sees it: characters (grapheme clusters) and the columns that they take.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace perilune::repl {

/// Columns of a tab.
inline constexpr int kTabColumns = 4;

/// Byte where the character behind the one at `at` starts; the size at the end. Bytes that are not
/// UTF-8 are characters of one byte.
std::size_t next_character(std::string_view text, std::size_t at);
/// Byte where the character before `at` starts.
std::size_t previous_character(std::string_view text, std::size_t at);

/// Columns of one character, as shown_character writes it.
int columns_of_character(std::string_view character);
/// Columns of a text without newlines.
int columns_of(std::string_view text);

/// A character as it is written to a terminal: a tab as spaces, a control as ^X, what is not UTF-8
/// as U+FFFD.
std::string shown_character(std::string_view character);

/// `bytes` as valid UTF-8 without controls but newlines and tabs; "\r\n" and "\r" become "\n".
std::string clean_text(std::string_view bytes);

}  // namespace perilune::repl
