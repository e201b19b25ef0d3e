#include "engine/text/unicode/newer_characters.h"

#include <algorithm>
#include <iterator>

#include "engine/text/unicode/character_flags.h"

namespace perilune {
namespace {

constexpr std::uint16_t kCapital = kLetter | kUpper | kWord, kSmall = kLetter | kLower | kWord;
constexpr std::uint16_t kLetters = kLetter | kTitleOrOther | kWord, kMarks = kMark | kWord;
constexpr std::uint16_t kDigits = kNumber | kDecimal | kWord;

struct Range {
  char32_t first, last;
  std::uint16_t flags;
};

constexpr Range kRanges[] = {
    {0x897, 0x897, kMarks},           {0x1B4E, 0x1B4F, kPunctuation},
    {0x1B7F, 0x1B7F, kPunctuation},   {0x1C89, 0x1C89, kCapital},
    {0x1C8A, 0x1C8A, kSmall},         {0x2427, 0x2429, kSymbol},
    {0x2FFC, 0x2FFF, kSymbol},        {0x31E4, 0x31E5, kSymbol},
    {0x31EF, 0x31EF, kSymbol},        {0xA7CB, 0xA7CC, kCapital},
    {0xA7CD, 0xA7CD, kSmall},         {0xA7DA, 0xA7DA, kCapital},
    {0xA7DB, 0xA7DB, kSmall},         {0xA7DC, 0xA7DC, kCapital},
    {0x105C0, 0x105F3, kLetters},     {0x10D40, 0x10D49, kDigits},
    {0x10D4A, 0x10D4F, kLetters},     {0x10D50, 0x10D65, kCapital},
    {0x10D69, 0x10D6D, kMarks},       {0x10D6E, 0x10D6E, kPunctuation},
    {0x10D6F, 0x10D6F, kLetters},     {0x10D70, 0x10D85, kSmall},
    {0x10D8E, 0x10D8F, kSymbol},      {0x10EC2, 0x10EC4, kLetters},
    {0x10EFC, 0x10EFC, kMarks},       {0x11380, 0x11389, kLetters},
    {0x1138B, 0x1138B, kLetters},     {0x1138E, 0x1138E, kLetters},
    {0x11390, 0x113B5, kLetters},     {0x113B7, 0x113B7, kLetters},
    {0x113B8, 0x113C0, kMarks},       {0x113C2, 0x113C2, kMarks},
    {0x113C5, 0x113C5, kMarks},       {0x113C7, 0x113CA, kMarks},
    {0x113CC, 0x113D0, kMarks},       {0x113D1, 0x113D1, kLetters},
    {0x113D2, 0x113D2, kMarks},       {0x113D3, 0x113D3, kLetters},
    {0x113D4, 0x113D5, kPunctuation}, {0x113D7, 0x113D8, kPunctuation},
    {0x113E1, 0x113E2, kMarks},       {0x116D0, 0x116E3, kDigits},
    {0x11BC0, 0x11BE0, kLetters},     {0x11BE1, 0x11BE1, kPunctuation},
    {0x11BF0, 0x11BF9, kDigits},      {0x11F5A, 0x11F5A, kMarks},
    {0x13460, 0x143FA, kLetters},     {0x16100, 0x1611D, kLetters},
    {0x1611E, 0x1612F, kMarks},       {0x16130, 0x16139, kDigits},
    {0x16D40, 0x16D6C, kLetters},     {0x16D6D, 0x16D6F, kPunctuation},
    {0x16D70, 0x16D79, kDigits},      {0x18CFF, 0x18CFF, kLetters},
    {0x1CC00, 0x1CCEF, kSymbol},      {0x1CCF0, 0x1CCF9, kDigits},
    {0x1CD00, 0x1CEB3, kSymbol},      {0x1E5D0, 0x1E5ED, kLetters},
    {0x1E5EE, 0x1E5EF, kMarks},       {0x1E5F0, 0x1E5F0, kLetters},
    {0x1E5F1, 0x1E5FA, kDigits},      {0x1E5FF, 0x1E5FF, kPunctuation},
    {0x1F8B2, 0x1F8BB, kSymbol},      {0x1F8C0, 0x1F8C1, kSymbol},
    {0x1FA89, 0x1FA89, kSymbol},      {0x1FA8F, 0x1FA8F, kSymbol},
    {0x1FABE, 0x1FABE, kSymbol},      {0x1FAC6, 0x1FAC6, kSymbol},
    {0x1FADC, 0x1FADC, kSymbol},      {0x1FADF, 0x1FADF, kSymbol},
    {0x1FAE9, 0x1FAE9, kSymbol},      {0x1FBCB, 0x1FBEF, kSymbol},
    {0x2EBF0, 0x2EE5D, kLetters},
};

}  // namespace

std::uint16_t newer_character_flags(char32_t value) {
  const auto* range =
      std::lower_bound(std::begin(kRanges), std::end(kRanges), value,
                       [](const Range& row, char32_t wanted) { return row.last < wanted; });
  return range != std::end(kRanges) && value >= range->first ? range->flags : 0;
}

}  // namespace perilune
