#include "engine/text/unicode/unicode_form.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <optional>
#include <unordered_map>

#include "engine/text/unicode/unicode.h"

namespace perilune {
namespace {

// Nothing beyond decomposes, composes or has a combining class.
constexpr char32_t kLastChanged = 0x2FA20;
constexpr char32_t kHangulFirst = 0xAC00, kHangulCount = 11172;
constexpr char32_t kLeadFirst = 0x1100, kVowelFirst = 0x1161, kTailFirst = 0x11A7;
constexpr char32_t kLeads = 19, kVowels = 21, kTails = 28;

/// The full decomposition of one character, itself where there is none.
std::size_t decompose(char32_t value, bool compatible, std::array<utf8proc_int32_t, 32>& out) {
  int boundary = 0;
  const int options = UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0);
  const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(value), out.data(),
                                             static_cast<utf8proc_ssize_t>(out.size()),
                                             static_cast<utf8proc_option_t>(options), &boundary);
  if (count > 0 && count <= static_cast<utf8proc_ssize_t>(out.size())) {
    return static_cast<std::size_t>(count);
  }
  out[0] = static_cast<utf8proc_int32_t>(value);
  return 1;
}

/// What the four forms need to know of characters, made once.
struct Tables {
  std::unordered_map<std::uint64_t, char32_t> pairs;  // first << 32 | second → composed
  std::vector<std::uint8_t> stays;                    // by character, a bit for each form

  Tables() : stays(kLastChanged, 15) {
    std::array<utf8proc_int32_t, 32> parts{};
    for (char32_t c = 0x80; c < kLastChanged; ++c) {
      if (c >= 0x3400 && c < kHangulFirst && !(c >= 0xA000)) continue;  // Han
      if (c >= 0xD800 && c < 0xE000) continue;
      read(c, parts);
    }
    for (const auto& [key, composed] : pairs) {
      stays[static_cast<std::uint32_t>(key)] &= static_cast<std::uint8_t>(~5);  // c and kc
    }
    for (char32_t c = kVowelFirst; c < kTailFirst + kTails; ++c) {
      stays[c] &= static_cast<std::uint8_t>(~5);
    }
  }

  void read(char32_t c, std::array<utf8proc_int32_t, 32>& parts) {
    const auto drop = [&](NormalForm form) {
      stays[c] &= static_cast<std::uint8_t>(~(1u << static_cast<unsigned>(form)));
    };
    if (combining_class(c) != 0) {
      for (const NormalForm form : {NormalForm::c, NormalForm::d, NormalForm::kc, NormalForm::kd}) {
        drop(form);
      }
    }
    const bool hangul = c >= kHangulFirst && c < kHangulFirst + kHangulCount;
    const std::size_t canonical = decompose(c, false, parts);
    const bool splits = canonical > 1 || static_cast<char32_t>(parts[0]) != c;
    if (splits) {
      drop(NormalForm::d);
      drop(NormalForm::kd);
      if (!hangul) compose(c);
    }
    const std::size_t compatible = decompose(c, true, parts);
    if (compatible > 1 || static_cast<char32_t>(parts[0]) != c) drop(NormalForm::kd);
    if (!hangul) keep_composed(c, splits);
  }

  /// Notes the pair that composes to `c`, where its decomposition is not one way only.
  void compose(char32_t c) {
    std::array<utf8proc_int32_t, 32> one{};
    one[0] = static_cast<utf8proc_int32_t>(c);
    const auto* property = utf8proc_get_property(one[0]);
    if (property->comp_exclusion) return;
    // One step of the decomposition: all but the last character compose again, then the last.
    std::array<utf8proc_int32_t, 32> parts{};
    const std::size_t count = decompose(c, false, parts);
    if (count < 2) return;
    const auto second = static_cast<char32_t>(parts[count - 1]);
    std::array<utf8proc_int32_t, 32> head = parts;
    const auto length = utf8proc_normalize_utf32(
        head.data(), static_cast<utf8proc_ssize_t>(count - 1),
        static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
    if (length != 1) return;
    const std::uint64_t key = (static_cast<std::uint64_t>(head[0]) << 32) | second;
    pairs.emplace(key, c);
  }

  void keep_composed(char32_t c, bool splits) {
    // In the composed forms a character stays where putting it together again gives it back.
    for (const bool compatible : {false, true}) {
      std::array<utf8proc_int32_t, 32> parts{};
      const std::size_t count = decompose(c, compatible, parts);
      const auto length = utf8proc_normalize_utf32(
          parts.data(), static_cast<utf8proc_ssize_t>(count),
          static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
      if (length == 1 && static_cast<char32_t>(parts[0]) == c) continue;
      if (!compatible && !splits) continue;
      stays[c] &= static_cast<std::uint8_t>(compatible ? ~4 : ~5);
    }
  }
};

const Tables& tables() {
  static const Tables made;
  return made;
}

std::optional<char32_t> composed(char32_t first, char32_t second) {
  if (first >= kLeadFirst && first < kLeadFirst + kLeads && second >= kVowelFirst &&
      second < kVowelFirst + kVowels) {
    return kHangulFirst + ((first - kLeadFirst) * kVowels + (second - kVowelFirst)) * kTails;
  }
  const bool syllable = first >= kHangulFirst && first < kHangulFirst + kHangulCount &&
                        (first - kHangulFirst) % kTails == 0;
  if (syllable && second > kTailFirst && second < kTailFirst + kTails) {
    return first + (second - kTailFirst);
  }
  const auto found = tables().pairs.find((static_cast<std::uint64_t>(first) << 32) | second);
  if (found == tables().pairs.end()) return std::nullopt;
  return found->second;
}

/// Puts every run of combining marks in the order of their classes.
void reorder(std::vector<Change>& text) {
  for (std::size_t at = 0; at < text.size();) {
    if (combining_class(text[at].value) == 0) {
      ++at;
      continue;
    }
    std::size_t end = at;
    while (end < text.size() && combining_class(text[end].value) != 0) ++end;
    std::stable_sort(text.begin() + static_cast<std::ptrdiff_t>(at),
                     text.begin() + static_cast<std::ptrdiff_t>(end),
                     [](const Change& a, const Change& b) {
                       return combining_class(a.value) < combining_class(b.value);
                     });
    at = end;
  }
}

/// Joins each starter with the marks after it that are not blocked.
void compose_all(std::vector<Change>& text) {
  std::size_t out = 0, starter = text.size();  // text.size(): none yet
  int last_class = -1;                         // of what was written after the starter; -1: nothing
  for (std::size_t i = 0; i < text.size(); ++i) {
    const Change here = text[i];
    const int own = combining_class(here.value);
    if (starter < text.size() && (last_class < own || last_class == -1)) {
      if (const auto joined = composed(text[starter].value, here.value)) {
        text[starter].value = *joined;
        text[starter].change += here.change - 1;
        text[starter].of.first = std::min(text[starter].of.first, here.of.first);
        text[starter].of.last = std::max(text[starter].of.last, here.of.last);
        continue;
      }
    }
    text[out] = here;
    if (own == 0) {
      starter = out;
      last_class = -1;
    } else {
      last_class = own;
    }
    ++out;
  }
  text.resize(out);
}

}  // namespace

bool stays_in_form(char32_t value, NormalForm form) {
  if (value < 0x80 || value >= kLastChanged) return true;
  return (tables().stays[value] & (1u << static_cast<unsigned>(form))) != 0;
}

void append_decomposition(char32_t value, bool compatible, std::u32string& out) {
  if (stays_in_form(value, compatible ? NormalForm::kd : NormalForm::d)) {
    out += value;
    return;
  }
  std::array<utf8proc_int32_t, 32> parts{};
  const std::size_t count = decompose(value, compatible, parts);
  for (std::size_t i = 0; i < count; ++i) out += static_cast<char32_t>(parts[i]);
}

TextSpan next_part(std::string_view text, std::size_t from, NormalForm form) {
  const auto size = static_cast<std::uint32_t>(text.size());
  std::size_t last = from;  // the character before `at`, which what follows may join
  std::size_t at = from;
  while (at < text.size()) {
    if (static_cast<unsigned char>(text[at]) < 0x80) {
      at = ascii_end(text, at);
      last = at - 1;
      continue;
    }
    const Character c = character_at(text, at);
    if (!stays_in_form(c.value, form)) break;
    last = at;
    at += c.size;
  }
  if (at == text.size()) return {size, size};
  const std::size_t first = last;
  while (at < text.size()) {
    const Character c = character_at(text, at);
    if (stays_in_form(c.value, form)) break;
    at += c.size;
  }
  return {static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(at)};
}

void to_form(std::string_view text, NormalForm form, std::vector<Change>& out) {
  const bool compatible = form == NormalForm::kc || form == NormalForm::kd;
  std::u32string parts;
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    const auto first = static_cast<std::uint32_t>(at);
    at += c.size;
    parts.clear();
    append_decomposition(c.value, compatible, parts);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      out.push_back({parts[i], i == 0 ? 0 : 1, {first, first + c.size}});
    }
  }
  reorder(out);
  if (form == NormalForm::c || form == NormalForm::kc) compose_all(out);
}

}  // namespace perilune
