#include "engine/constrain/character_set.h"

#include <algorithm>
#include <string>

#include "engine/base/utf8.h"

namespace perilune {

namespace {

constexpr char32_t kFirstSurrogate = 0xD800, kLastSurrogate = 0xDFFF;

/// Both ends of a range that is spelled in the same number of bytes: cut where the bytes after the
/// first that differs do not run through all they can be.
void split(char32_t first, char32_t last, std::vector<ByteRanges>& out) {
  for (std::uint32_t bits = 6; bits <= 18; bits += 6) {
    const char32_t low = (char32_t{1} << bits) - 1;
    if ((first & ~low) == (last & ~low)) continue;
    if ((first & low) != 0) {
      split(first, first | low, out);
      return split((first | low) + 1, last, out);
    }
    if ((last & low) != low) {
      split(first, (last & ~low) - 1, out);
      return split(last & ~low, last, out);
    }
  }
  std::string from, to;
  append_character(from, first);
  append_character(to, last);
  ByteRanges ranges;
  for (std::size_t i = 0; i < from.size(); ++i) {
    ranges.emplace_back(static_cast<std::uint8_t>(from[i]), static_cast<std::uint8_t>(to[i]));
  }
  out.push_back(std::move(ranges));
}

}  // namespace

CharacterSet::CharacterSet(std::initializer_list<Range> ranges) {
  for (const auto& [first, last] : ranges) add(first, last);
}

void CharacterSet::add(char32_t first, char32_t last) {
  if (first < kFirstSurrogate && last > kLastSurrogate) {
    add(first, kFirstSurrogate - 1);
    return add(kLastSurrogate + 1, last);
  }
  if (first >= kFirstSurrogate && first <= kLastSurrogate) first = kLastSurrogate + 1;
  if (last >= kFirstSurrogate && last <= kLastSurrogate) last = kFirstSurrogate - 1;
  if (first > last) return;
  // Those that touch the new one melt into it.
  const auto from = std::find_if(ranges_.begin(), ranges_.end(),
                                 [&](const Range& range) { return range.second + 1 >= first; });
  auto to = from;
  while (to != ranges_.end() && to->first <= last + 1) {
    first = std::min(first, to->first);
    last = std::max(last, to->second);
    ++to;
  }
  ranges_.insert(ranges_.erase(from, to), {first, last});
}

void CharacterSet::add(const CharacterSet& other) {
  for (const auto& [first, last] : other.ranges_) add(first, last);
}

CharacterSet CharacterSet::complement() const {
  CharacterSet result;
  char32_t next = 0;
  for (const auto& [first, last] : ranges_) {
    if (first > next) result.add(next, first - 1);
    next = last + 1;
  }
  if (next <= kLastCharacter) result.add(next, kLastCharacter);
  return result;
}

CharacterSet CharacterSet::without(const CharacterSet& other) const {
  CharacterSet left = complement();
  left.add(other);
  return left.complement();
}

bool CharacterSet::contains(char32_t character) const {
  return std::any_of(ranges_.begin(), ranges_.end(), [&](const Range& range) {
    return range.first <= character && character <= range.second;
  });
}

std::vector<ByteRanges> utf8_ranges(const CharacterSet& set) {
  constexpr CharacterSet::Range kLengths[] = {
      {0, 0x7F}, {0x80, 0x7FF}, {0x800, 0xFFFF}, {0x10000, kLastCharacter}};
  std::vector<ByteRanges> out;
  for (const auto& [first, last] : set.ranges()) {
    for (const auto& [shortest, longest] : kLengths) {
      const char32_t from = std::max(first, shortest), to = std::min(last, longest);
      if (from > to) continue;
      if (to <= 0x7F) {
        out.push_back({{static_cast<std::uint8_t>(from), static_cast<std::uint8_t>(to)}});
      } else {
        split(from, to, out);
      }
    }
  }
  return out;
}

}  // namespace perilune
