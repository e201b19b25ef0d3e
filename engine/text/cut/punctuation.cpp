// What the published pre-tokenizers take for punctuation: their table is of Unicode 8.
#include <algorithm>
#include <iterator>

#include "engine/text/cut/parts.h"
#include "engine/text/unicode/unicode.h"

namespace perilune {
namespace {

struct Range {
  char32_t first, last;
};

// \p{P} that came later.
constexpr Range kLater[] = {
    {0x61D, 0x61D},     {0x9FD, 0x9FD},     {0xA76, 0xA76},     {0xC77, 0xC77},
    {0xC84, 0xC84},     {0x1B4E, 0x1B4F},   {0x1B7D, 0x1B7F},   {0x2E43, 0x2E4F},
    {0x2E52, 0x2E5D},   {0x10D6E, 0x10D6E}, {0x10EAD, 0x10EAD}, {0x10ED0, 0x10ED0},
    {0x10F55, 0x10F59}, {0x10F86, 0x10F89}, {0x113D4, 0x113D8}, {0x1144B, 0x1144F},
    {0x1145A, 0x1145B}, {0x1145D, 0x1145D}, {0x11660, 0x1166C}, {0x116B9, 0x116B9},
    {0x1183B, 0x1183B}, {0x11944, 0x11946}, {0x119E2, 0x119E2}, {0x11A3F, 0x11A46},
    {0x11A9A, 0x11A9C}, {0x11A9E, 0x11AA2}, {0x11B00, 0x11B09}, {0x11BE1, 0x11BE1},
    {0x11C41, 0x11C45}, {0x11C70, 0x11C71}, {0x11EF7, 0x11EF8}, {0x11F43, 0x11F4F},
    {0x11FFF, 0x11FFF}, {0x12FF1, 0x12FF2}, {0x16D6D, 0x16D6F}, {0x16E97, 0x16E9A},
    {0x16FE2, 0x16FE2}, {0x1E5FF, 0x1E5FF}, {0x1E95E, 0x1E95F}};
// A Canadian syllabics sign and the Sharada sandhi mark: a symbol and a mark by now.
constexpr char32_t kNoLonger[] = {0x166D, 0x111C9};

bool came_later(char32_t value) {
  const auto* range =
      std::lower_bound(std::begin(kLater), std::end(kLater), value,
                       [](const Range& row, char32_t wanted) { return row.last < wanted; });
  return range != std::end(kLater) && value >= range->first;
}

}  // namespace

bool is_published_punctuation(char32_t value) {
  if (value < 0x80) return has_flag(value, kPunctuation | kSymbol);
  if (value == kNoLonger[0] || value == kNoLonger[1]) return true;
  return has_flag(value, kPunctuation) && !came_later(value);
}

}  // namespace perilune
