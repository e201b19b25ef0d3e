// What the scanners share: reading characters and what they are.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "engine/text/unicode/aligned_text.h"
#include "engine/text/unicode/unicode.h"

namespace perilune::scanning {

/// Flags beside those of CharacterFlag.
constexpr std::uint16_t kNewline = 1 << 12;  // \r and \n
constexpr std::uint16_t kSpace = 1 << 13;    // U+0020

/// Flags of ASCII, from a table that is made once.
const std::array<std::uint16_t, 128>& ascii_table();

/// Reads valid UTF-8 up to byte `end`.
struct Reader {
  Reader(std::string_view text, std::uint32_t end)
      : text(text.data()), end(end), ascii(ascii_table().data()) {}

  unsigned char byte(std::uint32_t at) const { return static_cast<unsigned char>(text[at]); }
  bool is(std::uint32_t at, char what) const { return at < end && text[at] == what; }

  /// The flags of the character at `at`, which is before the end.
  std::uint16_t flags(std::uint32_t at) const {
    const unsigned char first = byte(at);
    return first < 0x80 ? ascii[first] : wide(at);
  }
  /// The same, and 0 at the end.
  std::uint16_t flags_or_end(std::uint32_t at) const { return at < end ? flags(at) : 0; }

  std::uint32_t next(std::uint32_t at) const {
    const unsigned char first = byte(at);
    return at + (first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4);
  }
  char32_t value(std::uint32_t at) const { return character_at({text, end}, at).value; }

  /// The end of the run, from `at`, of characters with one of `wanted`.
  std::uint32_t run(std::uint32_t at, std::uint16_t wanted) const {
    while (at < end && (flags(at) & wanted) != 0) at = next(at);
    return at;
  }
  /// The end of the run of characters with none of `unwanted`.
  std::uint32_t run_without(std::uint32_t at, std::uint16_t unwanted) const {
    while (at < end && (flags(at) & unwanted) == 0) at = next(at);
    return at;
  }

  const char* text;
  std::uint32_t end;

 private:
  std::uint16_t wide(std::uint32_t at) const { return character_flags(value(at)); }
  const std::uint16_t* ascii;
};

/// The end of 's 't 're 've 'm 'll 'd at an apostrophe, in any case with `fold`; `at` where none
/// is.
std::uint32_t contraction_end(const Reader& in, std::uint32_t at, bool fold);

/// The end of \s+(?!\S)|\s+ at white space: the run, but for its last character where text follows.
std::uint32_t white_end(const Reader& in, std::uint32_t at);

/// The end of \s*[\r\n]+|\s+(?!\S)|\s+ at white space: a run goes up to its last newline.
std::uint32_t lines_end(const Reader& in, std::uint32_t at);

}  // namespace perilune::scanning
