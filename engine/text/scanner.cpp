#include "engine/text/scanner.h"

#include <array>
#include <cstring>

#include "engine/text/unicode.h"

namespace perilune {
namespace {

/// What a character is to the scanners.
enum class Kind : std::uint8_t { other, letter, number, space, newline, blank };

Kind kind_of_flags(char32_t value) {
  const std::uint16_t flags = character_flags(value);
  if (flags & kLetter) return Kind::letter;
  if (flags & kNumber) return Kind::number;
  if (value == '\n' || value == '\r') return Kind::newline;
  if (value == ' ') return Kind::space;
  return (flags & kWhiteSpace) ? Kind::blank : Kind::other;
}

const std::array<Kind, 128>& ascii_kinds() {
  static const std::array<Kind, 128> kinds = [] {
    std::array<Kind, 128> made{};
    for (std::size_t c = 0; c < made.size(); ++c) {
      made[c] = kind_of_flags(static_cast<char32_t>(c));
    }
    return made;
  }();
  return kinds;
}

bool white(Kind kind) {
  return kind == Kind::space || kind == Kind::newline || kind == Kind::blank;
}

/// Reads the characters of [at, end).
struct Reader {
  const char* text;
  std::uint32_t end;
  const std::array<Kind, 128>& ascii = ascii_kinds();

  Kind kind(std::uint32_t at, std::uint32_t& size) const {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte < 0x80) {
      size = 1;
      return ascii[byte];
    }
    const Character c = character_at({text, end}, at);
    size = c.size;
    return kind_of_flags(c.value);
  }
  /// The end of the run of one kind that begins at `at`.
  std::uint32_t run(std::uint32_t at, Kind wanted) const {
    std::uint32_t size = 0;
    while (at < end && kind(at, size) == wanted) at += size;
    return at;
  }
};

/// How two families of patterns differ.
struct Rules {
  bool any_prefix;       // [^\r\n\p{L}\p{N}]?\p{L}+ instead of " ?\p{L}+"
  bool fold;             // contractions in any case
  std::uint32_t digits;  // most of a run of numbers; 0: all, after an optional space
  bool lines;            // punctuation takes newlines along; \s*[\r\n]+ is a piece
};

/// The length of 's 't 're 've 'm 'll 'd at an apostrophe; 0: none.
std::uint32_t contraction(const Reader& r, std::uint32_t at, bool fold) {
  const auto letter = [&](std::uint32_t i) -> char {
    if (i >= r.end) return 0;
    const char c = r.text[i];
    return fold && c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  };
  const char first = letter(at + 1), second = letter(at + 2);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
  if ((first == 'r' && second == 'e') || (first == 'v' && second == 'e') ||
      (first == 'l' && second == 'l')) {
    return 3;
  }
  // U+017F, the long s, folds to s.
  const bool long_s = fold && at + 3 <= r.end && std::memcmp(r.text + at + 1, "\xC5\xBF", 2) == 0;
  return long_s ? 3 : 0;
}

std::uint32_t number_end(const Reader& r, std::uint32_t at, std::uint32_t most) {
  std::uint32_t size = 0;
  for (std::uint32_t count = 0; at < r.end && (most == 0 || count < most); ++count) {
    if (r.kind(at, size) != Kind::number) break;
    at += size;
  }
  return at;
}

/// White space: up to its last newline where lines are pieces, else all but the last character when
/// more text follows.
std::uint32_t white_end(const Reader& r, std::uint32_t at, bool lines) {
  std::uint32_t size = 0, last = at, after_newline = 0, count = 0, p = at;
  while (p < r.end) {
    const Kind kind = r.kind(p, size);
    if (!white(kind)) break;
    last = p;
    p += size;
    ++count;
    if (kind == Kind::newline) after_newline = p;
  }
  if (lines && after_newline > 0) return after_newline;
  return p < r.end && count > 1 ? last : p;
}

std::uint32_t punctuation_end(const Reader& r, std::uint32_t at, bool lines) {
  at = r.run(at, Kind::other);
  return lines ? r.run(at, Kind::newline) : at;
}

/// The end of the piece that begins at `at`.
std::uint32_t piece_end(const Reader& r, std::uint32_t at, const Rules& rules) {
  std::uint32_t size = 0;
  const Kind first = r.kind(at, size);
  if (r.text[at] == '\'') {
    if (const std::uint32_t length = contraction(r, at, rules.fold)) return at + length;
  }
  if (first == Kind::letter) return r.run(at + size, Kind::letter);
  if (first == Kind::number) return number_end(r, at, rules.digits);
  const std::uint32_t next = at + size;
  std::uint32_t next_size = 0;
  const Kind second = next < r.end ? r.kind(next, next_size) : Kind::newline;
  const bool space = first == Kind::space;
  if (second == Kind::letter && (space || (rules.any_prefix && first != Kind::newline))) {
    return r.run(next + next_size, Kind::letter);
  }
  if (space && second == Kind::number && rules.digits == 0) return number_end(r, next, 0);
  if (space && second == Kind::other) return punctuation_end(r, next, rules.lines);
  if (first == Kind::other) return punctuation_end(r, at, rules.lines);
  return white_end(r, at, rules.lines);
}

class WordScanner final : public Pattern {
 public:
  explicit WordScanner(const Rules& rules) : rules_(rules) {}

  void find(std::string_view text, TextSpan range, std::vector<TextSpan>& out) const override {
    const Reader reader{text.data(), range.last};
    for (std::uint32_t at = range.first; at < range.last;) {
      const std::uint32_t end = piece_end(reader, at, rules_);
      out.push_back({at, end});
      at = end;
    }
  }
  bool scanner() const override { return true; }

 private:
  Rules rules_;
};

/// CLIP's: two special tokens, contractions, runs of letters, single numbers, runs of the rest but
/// white space.
class ClipScanner final : public Pattern {
 public:
  void find(std::string_view text, TextSpan range, std::vector<TextSpan>& out) const override {
    const Reader r{text.data(), range.last};
    for (std::uint32_t at = range.first; at < range.last;) {
      std::uint32_t size = 0;
      const Kind kind = r.kind(at, size);
      std::uint32_t end = at + size;
      if (const std::uint32_t length = special(r, at)) {
        end = at + length;
      } else if (kind == Kind::letter) {
        end = r.run(at, Kind::letter);
      } else if (kind == Kind::other) {
        end = punctuation_end(r, at, false);
      }
      if (!white(kind)) out.push_back({at, end});
      at = end;
    }
  }
  bool scanner() const override { return true; }

 private:
  static std::uint32_t special(const Reader& r, std::uint32_t at) {
    if (r.text[at] == '\'') return contraction(r, at, false);
    if (r.text[at] != '<') return 0;
    const std::string_view rest(r.text + at, r.end - at);
    for (const std::string_view token : {"<|startoftext|>", "<|endoftext|>"}) {
      if (rest.substr(0, token.size()) == token) return static_cast<std::uint32_t>(token.size());
    }
    return 0;
  }
};

struct Known {
  const char* source;
  Rules rules;
};

constexpr Rules kGpt2{false, false, 0, false};
constexpr Rules kLlama3{true, true, 3, true}, kQwen2{true, true, 1, true};

constexpr Known kKnown[] = {
    {R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", kGpt2},
    {R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", kGpt2},
    {R"('(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s)", kGpt2},
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     kLlama3},
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     kQwen2},
};

constexpr const char* kClip =
    R"(<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+)";

}  // namespace

std::unique_ptr<Pattern> known_scanner(std::string_view source) {
  for (const Known& known : kKnown) {
    if (source == known.source) return std::make_unique<WordScanner>(known.rules);
  }
  if (source == kClip) return std::make_unique<ClipScanner>();
  return nullptr;
}

}  // namespace perilune
