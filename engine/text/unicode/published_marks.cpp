#include "engine/text/unicode/published_marks.h"

#include <algorithm>
#include <iterator>

#include "engine/text/unicode/newer_characters.h"

namespace perilune {
namespace {

enum Which : std::uint8_t { kMarks = 1, kNonspacing = 2, kBoth = 3 };

/// Marks of today that the older tables do not know as such; a range may hold other characters.
struct Later {
  char32_t first, last;
  Which which;
};
constexpr Later kLater[] = {{0x7FD, 0x7FD, kBoth},           {0x898, 0x8D3, kBoth},
                            {0x8D4, 0x8E1, kNonspacing},     {0x9FE, 0x9FE, kBoth},
                            {0xAFA, 0xAFF, kBoth},           {0xB55, 0xB55, kBoth},
                            {0xC04, 0xC3C, kBoth},           {0xCF3, 0xCF3, kMarks},
                            {0xD00, 0xD00, kBoth},           {0xD3B, 0xD3C, kBoth},
                            {0xD81, 0xD81, kBoth},           {0xEBA, 0xEBA, kBoth},
                            {0xECE, 0xECE, kBoth},           {0x1715, 0x1715, kMarks},
                            {0x180F, 0x180F, kBoth},         {0x1885, 0x1886, kNonspacing},
                            {0x1ABF, 0x1ACE, kBoth},         {0x1CF7, 0x1CF7, kMarks},
                            {0x1DF6, 0x1DFA, kBoth},         {0x1DFB, 0x1DFB, kNonspacing},
                            {0xA82C, 0xA82C, kBoth},         {0xA8C5, 0xA8C5, kNonspacing},
                            {0xA8FF, 0xA8FF, kBoth},         {0xA9BD, 0xA9BD, kNonspacing},
                            {0x10D24, 0x10D27, kBoth},       {0x10EAB, 0x10EAC, kBoth},
                            {0x10EFD, 0x10EFF, kBoth},       {0x10F46, 0x10F85, kBoth},
                            {0x11070, 0x11074, kBoth},       {0x110C2, 0x110C2, kBoth},
                            {0x11145, 0x11146, kMarks},      {0x111C9, 0x111C9, kBoth},
                            {0x111CE, 0x111CE, kMarks},      {0x111CF, 0x111CF, kBoth},
                            {0x1123E, 0x1123E, kNonspacing}, {0x11241, 0x11241, kBoth},
                            {0x1133B, 0x1133B, kBoth},       {0x11438, 0x1143F, kNonspacing},
                            {0x11442, 0x11444, kNonspacing}, {0x11446, 0x11446, kNonspacing},
                            {0x1145E, 0x1145E, kBoth},       {0x1182C, 0x1182E, kMarks},
                            {0x1182F, 0x1183A, kBoth},       {0x11930, 0x11938, kMarks},
                            {0x1193B, 0x11943, kBoth},       {0x119D1, 0x119D3, kMarks},
                            {0x119D4, 0x11A99, kBoth},       {0x11C30, 0x11C3D, kNonspacing},
                            {0x11C3F, 0x11C3F, kNonspacing}, {0x11C92, 0x11CA7, kNonspacing},
                            {0x11CAA, 0x11CB0, kNonspacing}, {0x11CB2, 0x11CB3, kNonspacing},
                            {0x11CB5, 0x11CB6, kNonspacing}, {0x11D31, 0x11D47, kBoth},
                            {0x11D8A, 0x11D8E, kMarks},      {0x11D90, 0x11D97, kBoth},
                            {0x11EF3, 0x11F42, kBoth},       {0x13440, 0x13455, kBoth},
                            {0x16F4F, 0x16F4F, kBoth},       {0x16F7F, 0x16F87, kMarks},
                            {0x16FE4, 0x16FF1, kBoth},       {0x1CF00, 0x1CF46, kBoth},
                            {0x1E000, 0x1E02A, kNonspacing}, {0x1E08F, 0x1E08F, kBoth},
                            {0x1E130, 0x1E136, kBoth},       {0x1E2AE, 0x1E2EF, kBoth},
                            {0x1E4EC, 0x1E4EF, kBoth},       {0x1E944, 0x1E94A, kNonspacing}};

bool is_later(char32_t value, Which which) {
  const auto* found = std::lower_bound(std::begin(kLater), std::end(kLater), value,
                                       [](const Later& row, char32_t v) { return row.last < v; });
  return found != std::end(kLater) && value >= found->first && (found->which & which) != 0;
}

}  // namespace

bool is_published_mark(char32_t value) {
  if (value < 0x300) return false;
  if (value == 0x1CF2 || value == 0x1CF3) return true;  // letters since Unicode 12
  if (newer_character_flags(value) != 0) return false;
  return has_flag(value, kMark) && !is_later(value, kMarks);
}

bool is_published_nonspacing_mark(char32_t value) {
  if (value < 0x300 || !has_flag(value, kMark)) return false;
  if (value == 0x1734) return true;  // a spacing mark since Unicode 14
  if (newer_character_flags(value) != 0) return false;
  return category(value) == Category::Mn && !is_later(value, kNonspacing);
}

bool is_published_control(char32_t value) {
  if (value < 0x80) {
    return (value < 0x20 && value != '\t' && value != '\n' && value != '\r') || value == 0x7F;
  }
  if (value == 0xFFFD) return true;
  if (!has_flag(value, kControl)) return false;
  switch (category(value)) {
    case Category::Cc:
    case Category::Co: return true;
    case Category::Cf:
      return !(value == 0x890 || value == 0x891 || value == 0x8E2 || value == 0x110CD ||
               (value >= 0x13430 && value <= 0x1343F));
    default: return false;
  }
}

}  // namespace perilune
