// UTF-8: characters to bytes and back, and what to do with bytes that are none.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace perilune {

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

/// Length in bytes of the valid UTF-8 character at the start of `text`; 0 where there is none (bad
/// or incomplete bytes, overlong forms, surrogates).
std::size_t utf8_character(std::string_view text);

/// Whether all of `text` is valid UTF-8.
bool is_utf8(std::string_view text);

/// How bytes that are not UTF-8 are replaced by U+FFFD.
enum class Utf8Replacement {
  byte,    // each such byte by one (SentencePiece)
  subpart  // each maximal subpart of a character by one (Unicode 3.9, what byte-level BPE does)
};

/// Collects bytes and gives back whole characters.
class Utf8Buffer {
 public:
  explicit Utf8Buffer(Utf8Replacement replacement) : replacement_(replacement) {}
  /// Appends to `out` every character that `bytes` completes.
  void push(std::string_view bytes, std::string& out);
  /// Appends U+FFFD for what stays open, and forgets it.
  void flush(std::string& out);

 private:
  Utf8Replacement replacement_;
  std::string open_;  // at most three bytes: the beginning of a character
};

}  // namespace perilune
