#include "engine/text/unicode/unicode.h"

#include <utf8proc.h>

#include <array>
#include <cstring>
#include <map>
#include <vector>

#include "engine/text/unicode/newer_characters.h"

namespace perilune {
namespace {

constexpr char32_t kEnd = 0x110000;        // one past the last code point
constexpr char32_t kEmptyFirst = 0x40000;  // planes 4 to 13 hold no characters
constexpr char32_t kEmptyLast = 0xE0000;

constexpr std::uint16_t ascii_flags(unsigned char byte) {
  if (byte >= 'A' && byte <= 'Z') return kLetter | kUpper | kWord;
  if (byte >= 'a' && byte <= 'z') return kLetter | kLower | kWord;
  if (byte >= '0' && byte <= '9') return kNumber | kDecimal | kWord;
  if (byte >= 0x09 && byte <= 0x0D) return kControl | kWhiteSpace;
  if (byte < 0x20 || byte == 0x7F) return kControl;
  switch (byte) {
    case ' ': return kWhiteSpace;
    case '_': return kPunctuation | kWord;
    case '$':
    case '+':
    case '<':
    case '=':
    case '>':
    case '^':
    case '`':
    case '|':
    case '~': return kSymbol;
    default: return kPunctuation;
  }
}

constexpr std::array<std::uint16_t, 128> make_ascii_flags() {
  std::array<std::uint16_t, 128> flags{};
  for (unsigned i = 0; i < 128; ++i) flags[i] = ascii_flags(static_cast<unsigned char>(i));
  return flags;
}
constexpr std::array<std::uint16_t, 128> kAsciiFlags = make_ascii_flags();

bool is_white_space(char32_t value) {
  return (value >= 0x09 && value <= 0x0D) || value == 0x20 || value == 0x85 || value == 0xA0 ||
         value == 0x1680 || (value >= 0x2000 && value <= 0x200A) || value == 0x2028 ||
         value == 0x2029 || value == 0x202F || value == 0x205F || value == 0x3000;
}

// Alphabetic without being a letter, a letter number or a mark: circled and squared Latin.
bool is_alphabetic_symbol(char32_t value) {
  return (value >= 0x24B6 && value <= 0x24E9) || (value >= 0x1F130 && value <= 0x1F149) ||
         (value >= 0x1F150 && value <= 0x1F169) || (value >= 0x1F170 && value <= 0x1F189);
}

std::uint16_t flags_of_category(Category category) {
  switch (category) {
    case Category::Lu: return kLetter | kUpper | kWord;
    case Category::Ll: return kLetter | kLower | kWord;
    case Category::Lt:
    case Category::Lm:
    case Category::Lo: return kLetter | kTitleOrOther | kWord;
    case Category::Mn:
    case Category::Mc:
    case Category::Me: return kMark | kWord;
    case Category::Nd: return kNumber | kDecimal | kWord;
    case Category::Nl: return kNumber | kWord;
    case Category::No: return kNumber;
    case Category::Pc: return kPunctuation | kWord;
    case Category::Pd:
    case Category::Ps:
    case Category::Pe:
    case Category::Pi:
    case Category::Pf:
    case Category::Po: return kPunctuation;
    case Category::Sm:
    case Category::Sc:
    case Category::Sk:
    case Category::So: return kSymbol;
    case Category::Zs:
    case Category::Zl:
    case Category::Zp: return 0;
    default: return kControl;
  }
}

std::uint16_t compute_flags(char32_t value) {
  if (const std::uint16_t newer = newer_character_flags(value)) return newer;
  std::uint16_t flags = flags_of_category(category(value));
  if (is_white_space(value)) flags |= kWhiteSpace;
  if (is_alphabetic_symbol(value) || value == 0x200C || value == 0x200D) flags |= kWord;
  return flags;
}

/// Capitals of Unicode 16 and 17, which utf8proc does not know; published tokenizers do.
struct Capitals {
  char32_t first, last, lower;
};
constexpr Capitals kNewerCapitals[] = {
    {0x1C89, 0x1C89, 0x1C8A},    {0xA7CB, 0xA7CB, 0x264},  {0xA7CC, 0xA7CC, 0xA7CD},
    {0xA7CE, 0xA7CE, 0xA7CF},    {0xA7D2, 0xA7D2, 0xA7D3}, {0xA7D4, 0xA7D4, 0xA7D5},
    {0xA7DA, 0xA7DA, 0xA7DB},    {0xA7DC, 0xA7DC, 0x19B},  {0x10D50, 0x10D65, 0x10D70},
    {0x16EA0, 0x16EB8, 0x16EBB},
};

char32_t lower_of(char32_t value) {
  const auto code = static_cast<utf8proc_int32_t>(value);
  const auto lower = static_cast<char32_t>(utf8proc_tolower(code));
  if (lower != value || value < 0x1C89 || category(value) != Category::Cn) return lower;
  for (const Capitals& row : kNewerCapitals) {
    if (value >= row.first && value <= row.last) return row.lower + (value - row.first);
  }
  return value;
}

// Blocks of 128 characters; equal ones are stored once.
class FlagTable {
 public:
  FlagTable() {
    std::map<Block, std::uint16_t> seen;
    const auto add = [&](const Block& block) {
      const auto [at, fresh] = seen.emplace(block, static_cast<std::uint16_t>(blocks_.size()));
      if (fresh) blocks_.push_back(block);
      return at->second;
    };
    Block empty;
    empty.fill(kControl);
    const std::uint16_t nothing = add(empty);
    for (char32_t first = 0; first < kEnd; first += kBlock) {
      if (first >= kEmptyFirst && first < kEmptyLast) {
        stage_[first / kBlock] = nothing;
        continue;
      }
      Block block;
      for (char32_t i = 0; i < kBlock; ++i) block[i] = compute_flags(first + i);
      stage_[first / kBlock] = add(block);
    }
  }
  std::uint16_t at(char32_t value) const { return blocks_[stage_[value / kBlock]][value % kBlock]; }

 private:
  static constexpr char32_t kBlock = 128;
  using Block = std::array<std::uint16_t, kBlock>;
  std::array<std::uint16_t, kEnd / kBlock> stage_;
  std::vector<Block> blocks_;
};

}  // namespace

std::uint16_t character_flags(char32_t value) {
  if (value < 128) return kAsciiFlags[value];
  static const FlagTable table;
  return value < kEnd ? table.at(value) : static_cast<std::uint16_t>(kControl);
}

bool has_lower_case(char32_t value) {
  if (value < 128) return value >= 'A' && value <= 'Z';
  const std::uint16_t flags = character_flags(value);
  // Capitals; title case; Roman numerals and circled letters.
  const bool candidate =
      (flags & kUpper) != 0 || ((flags & kTitleOrOther) != 0 && value < 0x2000) ||
      ((flags & kWord) != 0 && (flags & (kNumber | kSymbol)) != 0 && (flags & kDecimal) == 0) ||
      is_alphabetic_symbol(value);
  return (candidate || (flags & kControl) != 0) && lower_of(value) != value;
}

std::size_t grapheme_end(std::string_view text, std::size_t at) {
  const auto property = [](char32_t value) {
    return utf8proc_get_property(static_cast<utf8proc_int32_t>(value));
  };
  Character previous = character_at(text, at);
  at += previous.size;
  bool ordinary = property(previous.value)->boundclass == UTF8PROC_BOUNDCLASS_OTHER;
  int state = 0;
  while (at < text.size()) {
    const Character next = character_at(text, at);
    const bool next_ordinary = property(next.value)->boundclass == UTF8PROC_BOUNDCLASS_OTHER;
    if (ordinary && next_ordinary) break;  // the usual case, without the rules
    if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(previous.value),
                                         static_cast<utf8proc_int32_t>(next.value), &state)) {
      break;
    }
    previous = next;
    ordinary = next_ordinary;
    at += next.size;
  }
  return at;
}

Category category(char32_t value) {
  return static_cast<Category>(utf8proc_category(static_cast<utf8proc_int32_t>(value)));
}

std::uint8_t combining_class(char32_t value) {
  if (value < 0x300) return 0;
  return static_cast<std::uint8_t>(
      utf8proc_get_property(static_cast<utf8proc_int32_t>(value))->combining_class);
}

void append_lower_case(std::string& out, char32_t value) {
  if (value < 128) {
    out.push_back(static_cast<char>(value >= 'A' && value <= 'Z' ? value + 32 : value));
  } else if (value == 0x130) {  // the only one whose lower case is two characters
    out += "i\xCC\x87";
  } else {
    append_character(out, lower_of(value));
  }
}

char32_t fold_case(char32_t value) {
  if (value < 128) return value >= 'A' && value <= 'Z' ? value + 32 : value;
  if (value == 0x130) return value;  // folds to two characters or, in Turkish, to i
  std::array<utf8proc_int32_t, 8> folded;
  int boundary = 0;
  const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(value), folded.data(),
                                             folded.size(), UTF8PROC_CASEFOLD, &boundary);
  if (count == 1) return static_cast<char32_t>(folded[0]);
  return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(value)));
}

}  // namespace perilune
