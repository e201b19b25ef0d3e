// Sets of characters, and the bytes that spell them.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace perilune {

inline constexpr char32_t kLastCharacter = 0x10FFFF;

/// Code points without surrogates, which no UTF-8 spells.
class CharacterSet {
 public:
  using Range = std::pair<char32_t, char32_t>;  // both inside

  CharacterSet() = default;
  CharacterSet(std::initializer_list<Range> ranges);
  static CharacterSet all() { return CharacterSet{{0, kLastCharacter}}; }

  void add(char32_t first, char32_t last);
  void add(const CharacterSet& other);
  CharacterSet complement() const;
  CharacterSet without(const CharacterSet& other) const;
  bool contains(char32_t character) const;
  bool empty() const { return ranges_.empty(); }
  /// In order, apart from each other.
  const std::vector<Range>& ranges() const { return ranges_; }

 private:
  std::vector<Range> ranges_;
};

/// Ranges of bytes, one after the other: every text of one byte out of each is one character.
using ByteRanges = std::vector<std::pair<std::uint8_t, std::uint8_t>>;

/// What UTF-8 makes of a set: at most a few lists for each of its ranges.
std::vector<ByteRanges> utf8_ranges(const CharacterSet& set);

}  // namespace perilune
