#include "engine/text/unicode/letter_case.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <span>
#include <utility>
#include <vector>

#include "engine/base/utf8.h"
#include "engine/text/unicode/letter_case_table.h"
#include "engine/text/unicode/unicode.h"

namespace perilune {
namespace {

// A byte that is no character, beyond all of them.
constexpr char32_t kStray = 0x110000;

bool in_ranges(std::span<const CharacterRange> ranges, char32_t c) {
  const auto at = std::upper_bound(
      ranges.begin(), ranges.end(), c,
      [](char32_t value, const CharacterRange& range) { return value < range.first; });
  return at != ranges.begin() && c <= std::prev(at)->last;
}

const LongCase* long_case(char32_t c) {
  const std::span<const LongCase> rows(kLongCases);
  const auto at =
      std::lower_bound(rows.begin(), rows.end(), c,
                       [](const LongCase& row, char32_t value) { return row.character < value; });
  return at != rows.end() && at->character == c ? &*at : nullptr;
}

Category category_of(char32_t c) {
  return c >= kStray ? Category::Cn : category(c);
}

bool is_lower(char32_t c) {
  return category_of(c) == Category::Ll || in_ranges(kMoreLower, c);
}
bool is_upper(char32_t c) {
  return category_of(c) == Category::Lu || in_ranges(kMoreUpper, c);
}
bool is_cased(char32_t c) {
  return is_lower(c) || is_upper(c) || category_of(c) == Category::Lt;
}

bool is_ignorable(char32_t c) {
  switch (category_of(c)) {
    case Category::Mn:
    case Category::Me:
    case Category::Cf:
    case Category::Lm:
    case Category::Sk: return true;
    default: return in_ranges(kMoreIgnorable, c);
  }
}

// A stray byte is kStray and the byte.
std::vector<char32_t> characters_of(std::string_view text) {
  std::vector<char32_t> out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t size = utf8_character(text.substr(at));
    if (size == 0) {
      out.push_back(kStray + static_cast<unsigned char>(text[at]));
      ++at;
      continue;
    }
    out.push_back(character_at(text, at).value);
    at += size;
  }
  return out;
}

void append(std::string& out, char32_t c) {
  if (c >= kStray) {
    out.push_back(static_cast<char>(c - kStray));
  } else {
    append_character(out, c);
  }
}

void append_all(std::string& out, std::u32string_view characters) {
  for (const char32_t c : characters) append_character(out, c);
}

// Writes the cases of a text's characters.
class CaseWriter {
 public:
  explicit CaseWriter(std::string_view text) : text_(characters_of(text)) {
    out_.reserve(text.size());
  }

  std::string write(LetterCase wanted) {
    bool inside = false;
    for (std::size_t i = 0; i < text_.size(); ++i) {
      const char32_t c = text_[i];
      if (c >= kStray) {
        append(out_, c);
        inside = false;
        continue;
      }
      write_one(i, wanted, inside);
      inside = is_cased(c);
    }
    return std::move(out_);
  }

 private:
  void write_one(std::size_t i, LetterCase wanted, bool inside) {
    switch (wanted) {
      case LetterCase::lower: return lower(i);
      case LetterCase::upper: return upper(text_[i]);
      case LetterCase::title: return inside ? lower(i) : title(text_[i]);
      case LetterCase::capitalize: return i > 0 ? lower(i) : title(text_[i]);
      case LetterCase::fold: return fold(text_[i]);
      case LetterCase::swap:
        if (is_upper(text_[i])) return lower(i);
        return is_lower(text_[i]) ? upper(text_[i]) : append(out_, text_[i]);
    }
  }

  void lower(std::size_t i) {
    if (text_[i] == U'\u03A3') return append_character(out_, ends_word(i) ? U'\u03C2' : U'\u03C3');
    append_lower_case(out_, text_[i]);
  }

  void upper(char32_t c) {
    if (const LongCase* row = long_case(c)) return append_all(out_, row->upper);
    append_character(out_,
                     static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))));
  }

  void title(char32_t c) {
    if (const LongCase* row = long_case(c)) return append_all(out_, row->title);
    append_character(out_,
                     static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c))));
  }

  void fold(char32_t c) {
    if (const LongCase* row = long_case(c)) return append_all(out_, row->fold);
    append_character(out_, fold_case(c));
  }

  // Unicode's Final_Sigma: letters before, none behind, what has no case in between left aside.
  bool ends_word(std::size_t i) const {
    std::size_t before = i;
    while (before > 0 && is_ignorable(text_[before - 1])) --before;
    if (before == 0 || !is_cased(text_[before - 1])) return false;
    std::size_t behind = i + 1;
    while (behind < text_.size() && is_ignorable(text_[behind])) ++behind;
    return behind == text_.size() || !is_cased(text_[behind]);
  }

  std::vector<char32_t> text_;
  std::string out_;
};

bool is_digit(char32_t c) {
  return has_flag(c, kDecimal) || in_ranges(kMoreDigits, c);
}
bool is_numeric(char32_t c) {
  return has_flag(c, kNumber) || in_ranges(kMoreNumbers, c);
}

bool is_printable(char32_t c) {
  switch (category_of(c)) {
    case Category::Cn:
    case Category::Cc:
    case Category::Cf:
    case Category::Cs:
    case Category::Co:
    case Category::Zl:
    case Category::Zp: return false;
    case Category::Zs: return c == U' ';
    default: return true;
  }
}

// White_Space, and the four separators that Python counts by their bidirectional class.
bool is_space(char32_t c) {
  return has_flag(c, kWhiteSpace) || (c >= 0x1C && c <= 0x1F);
}

bool is_identifier_start(char32_t c) {
  return c == U'_' || has_flag(c, kLetter) || category_of(c) == Category::Nl;
}

bool is_of(char32_t c, CharacterClass wanted) {
  if (c >= kStray) return false;
  switch (wanted) {
    case CharacterClass::alpha: return has_flag(c, kLetter);
    case CharacterClass::alnum: return has_flag(c, kLetter) || is_digit(c) || is_numeric(c);
    case CharacterClass::decimal: return has_flag(c, kDecimal);
    case CharacterClass::digit: return is_digit(c);
    case CharacterClass::numeric: return is_numeric(c);
    case CharacterClass::space: return is_space(c);
    case CharacterClass::printable: return is_printable(c);
    case CharacterClass::upper: return is_upper(c);
    case CharacterClass::lower: return is_lower(c);
    case CharacterClass::cased: return is_cased(c);
    case CharacterClass::identifier_start: return is_identifier_start(c);
    case CharacterClass::identifier_part:
      return is_identifier_start(c) || has_flag(c, kDecimal) || category_of(c) == Category::Mn ||
             category_of(c) == Category::Mc || category_of(c) == Category::Pc;
  }
  return false;
}

template <typename Kind, std::size_t n>
std::optional<Kind> find_name(const std::array<std::pair<std::string_view, Kind>, n>& names,
                              std::string_view name) {
  for (const auto& [known, kind] : names) {
    if (known == name) return kind;
  }
  return std::nullopt;
}

}  // namespace

std::string change_case(std::string_view text, LetterCase wanted) {
  return CaseWriter(text).write(wanted);
}

bool all_characters(std::string_view text, CharacterClass wanted) {
  const std::vector<char32_t> characters = characters_of(text);
  return std::all_of(characters.begin(), characters.end(),
                     [wanted](char32_t c) { return is_of(c, wanted); });
}

std::optional<LetterCase> letter_case(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, LetterCase>, 6> kNames = {{
      {"lower", LetterCase::lower},
      {"upper", LetterCase::upper},
      {"title", LetterCase::title},
      {"capitalize", LetterCase::capitalize},
      {"swap", LetterCase::swap},
      {"fold", LetterCase::fold},
  }};
  return find_name(kNames, name);
}

std::optional<CharacterClass> character_class(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, CharacterClass>, 12> kNames = {{
      {"alpha", CharacterClass::alpha},
      {"alnum", CharacterClass::alnum},
      {"decimal", CharacterClass::decimal},
      {"digit", CharacterClass::digit},
      {"numeric", CharacterClass::numeric},
      {"space", CharacterClass::space},
      {"printable", CharacterClass::printable},
      {"upper", CharacterClass::upper},
      {"lower", CharacterClass::lower},
      {"cased", CharacterClass::cased},
      {"identifier_start", CharacterClass::identifier_start},
      {"identifier_part", CharacterClass::identifier_part},
  }};
  return find_name(kNames, name);
}

}  // namespace perilune
