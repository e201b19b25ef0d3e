#include "engine/text/pattern/scanner_reader.h"

#include <cstring>

namespace perilune::scanning {

const std::array<std::uint16_t, 128>& ascii_table() {
  static const std::array<std::uint16_t, 128> table = [] {
    std::array<std::uint16_t, 128> made{};
    for (std::size_t c = 0; c < made.size(); ++c) {
      made[c] = character_flags(static_cast<char32_t>(c));
    }
    made['\r'] |= kNewline;
    made['\n'] |= kNewline;
    made[' '] |= kSpace;
    return made;
  }();
  return table;
}

std::uint32_t contraction_end(const Reader& in, std::uint32_t at, bool fold) {
  const auto letter = [&](std::uint32_t i) -> char {
    if (i >= in.end) return 0;
    const char c = in.text[i];
    return fold && c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  };
  const char second = letter(at + 2);
  switch (letter(at + 1)) {
    case 's':
    case 't':
    case 'm':
    case 'd': return at + 2;
    case 'r':
    case 'v': return second == 'e' ? at + 3 : at;
    case 'l': return second == 'l' ? at + 3 : at;
    case '\xC5': return fold && second == '\xBF' ? at + 3 : at;  // U+017F, the long s, folds to s
    default: return at;
  }
}

std::uint32_t white_end(const Reader& in, std::uint32_t at) {
  std::uint32_t last = at, next = at;
  while (next < in.end && (in.flags(next) & kWhiteSpace) != 0) {
    last = next;
    next = in.next(next);
  }
  return next < in.end && last > at ? last : next;
}

std::uint32_t lines_end(const Reader& in, std::uint32_t at) {
  std::uint32_t last = at, next = at, after_newline = at;
  while (next < in.end) {
    const std::uint16_t flags = in.flags(next);
    if ((flags & kWhiteSpace) == 0) break;
    last = next;
    next = in.next(next);
    if ((flags & kNewline) != 0) after_newline = next;
  }
  if (after_newline > at) return after_newline;
  return next < in.end && last > at ? last : next;
}

}  // namespace perilune::scanning
