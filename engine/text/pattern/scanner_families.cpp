// Expressions of single families of models, and those that backtracking would be slow at.
#include "engine/text/pattern/scanner.h"
#include "engine/text/pattern/scanner_reader.h"

namespace perilune {
namespace {

using scanning::kNewline;
using scanning::kSpace;
using scanning::Reader;

/// CLIP (Radford et al. 2021): contractions, runs of letters, single numbers, runs of what is none
/// of these and no white space; with `special`, two tokens before them.
class ClipScanner final : public Pattern {
 public:
  explicit ClipScanner(bool special) : special_(special) {}

  void find(std::string_view text, TextSpan range, std::vector<TextSpan>& out) const override {
    const Reader in(text, range.last);
    for (std::uint32_t at = range.first; at < range.last;) {
      const std::uint16_t flags = in.flags(at);
      if ((flags & kWhiteSpace) != 0) {
        at = in.next(at);
        continue;
      }
      const std::uint32_t end = piece_end(in, at, flags);
      out.push_back({at, end});
      at = end;
    }
  }
  bool scanner() const override { return true; }

 private:
  std::uint32_t piece_end(const Reader& in, std::uint32_t at, std::uint16_t flags) const {
    if ((flags & kLetter) != 0) return in.run(at, kLetter);
    if ((flags & kNumber) != 0) return in.next(at);
    if (in.is(at, '\'')) {
      const std::uint32_t end = scanning::contraction_end(in, at, false);
      if (end > at) return end;
    }
    if (special_ && in.is(at, '<')) {
      const std::string_view rest(in.text + at, in.end - at);
      for (const std::string_view token : {"<|startoftext|>", "<|endoftext|>"}) {
        if (rest.starts_with(token)) return at + static_cast<std::uint32_t>(token.size());
      }
    }
    return in.run_without(at, kWhiteSpace | kLetter | kNumber);
  }

  bool special_;
};

/// The third of DeepSeek-V3's: an ASCII punctuation mark with the ASCII letters after it, words,
/// punctuation, white space. Numbers were cut out before; those here only begin words.
class DeepSeekScanner final : public Pattern {
 public:
  void find(std::string_view text, TextSpan range, std::vector<TextSpan>& out) const override {
    const Reader in(text, range.last);
    for (std::uint32_t at = range.first; at < range.last;) {
      const std::uint32_t end = piece_end(in, at);
      if (end > at) out.push_back({at, end});
      at = end > at ? end : in.next(at);
    }
  }
  bool scanner() const override { return true; }

 private:
  static constexpr std::uint16_t kMarks = kPunctuation | kSymbol, kWords = kLetter | kMark;

  static bool is_ascii_letter(const Reader& in, std::uint32_t at) {
    if (at >= in.end) return false;
    const char c = in.text[at];
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  }

  /// `at` where nothing matches.
  static std::uint32_t piece_end(const Reader& in, std::uint32_t at) {
    const std::uint16_t first = in.flags(at);
    if ((first & kWords) != 0) return in.run(at, kWords);
    const std::uint32_t next = in.next(at);
    if ((first & kMarks) != 0) {
      if (in.byte(at) < 0x80 && is_ascii_letter(in, next)) {
        std::uint32_t end = next;
        while (is_ascii_letter(in, end)) ++end;
        return end;
      }
      return marks_end(in, at);
    }
    const std::uint16_t second = in.flags_or_end(next);
    if ((first & kNewline) == 0 && (second & kWords) != 0) return in.run(next, kWords);
    if ((first & kSpace) != 0 && (second & kMarks) != 0) return marks_end(in, next);
    return (first & kWhiteSpace) != 0 ? scanning::lines_end(in, at) : at;
  }

  static std::uint32_t marks_end(const Reader& in, std::uint32_t at) {
    return in.run(in.run(at, kMarks), kNewline);
  }
};

/// \s+$: white space before the end of a line or of the text.
class TrailingScanner final : public Pattern {
 public:
  void find(std::string_view text, TextSpan range, std::vector<TextSpan>& out) const override {
    const Reader in(text, range.last);
    for (std::uint32_t at = range.first; at < range.last;) {
      std::uint32_t end = at, line = at;  // `line`: the run's last line feed
      for (; end < in.end && (in.flags(end) & kWhiteSpace) != 0; end = in.next(end)) {
        if (in.is(end, '\n')) line = end;
      }
      const std::uint32_t last = end == in.end ? end : line;
      if (last > at) out.push_back({at, last});
      at = end > at ? end : in.next(at);
    }
  }
  bool scanner() const override { return true; }
};

/// Numbers in threes from the right: CLASS{1,3}(?=(?:CLASS{3})*(?!CLASS)); with `whole` only those
/// that no word character follows (\b at the end).
class ThousandsScanner final : public Pattern {
 public:
  ThousandsScanner(std::uint16_t digits, bool whole) : digits_(digits), whole_(whole) {}

  void find(std::string_view text, TextSpan range, std::vector<TextSpan>& out) const override {
    const Reader in(text, range.last);
    for (std::uint32_t at = range.first; at < range.last;) {
      if ((in.flags(at) & digits_) == 0) {
        at = in.next(at);
        continue;
      }
      const std::uint32_t end = in.run(at, digits_);
      if (!whole_ || !word_at(in, end)) cut(in, at, end, out);
      at = end;
    }
  }
  bool scanner() const override { return true; }

 private:
  /// As \b of published files has it: Latin-1's small digits and fractions count, joiners do not.
  static bool word_at(const Reader& in, std::uint32_t at) {
    if (at >= in.end) return false;
    if ((in.flags(at) & kWord) != 0) return (in.flags(at) & kControl) == 0;
    const char32_t c = in.value(at);
    return c == 0xB2 || c == 0xB3 || c == 0xB9 || (c >= 0xBC && c <= 0xBE);
  }

  static void cut(const Reader& in, std::uint32_t first, std::uint32_t last,
                  std::vector<TextSpan>& out) {
    std::uint32_t count = 0;
    for (std::uint32_t at = first; at < last; at = in.next(at)) ++count;
    for (std::uint32_t left = count, size = (count - 1) % 3 + 1; left > 0; left -= size, size = 3) {
      std::uint32_t end = first;
      for (std::uint32_t i = 0; i < size; ++i) end = in.next(end);
      out.push_back({first, end});
      first = end;
    }
  }

  std::uint16_t digits_;
  bool whole_;
};

/// \X: extended grapheme clusters.
class ClusterScanner final : public Pattern {
 public:
  void find(std::string_view text, TextSpan range, std::vector<TextSpan>& out) const override {
    const std::string_view part = text.substr(0, range.last);
    for (std::uint32_t at = range.first; at < range.last;) {
      const auto end = static_cast<std::uint32_t>(grapheme_end(part, at));
      out.push_back({at, end});
      at = end;
    }
  }
  bool scanner() const override { return true; }
};

}  // namespace

std::unique_ptr<Pattern> family_scanner(std::string_view source) {
  constexpr std::string_view kClip =
      R"re('s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+)re";
  constexpr std::string_view kClipSpecial =
      R"re(<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+)re";
  constexpr std::string_view kDeepSeek =
      R"re([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";
  if (source == kClip) return std::make_unique<ClipScanner>(false);
  if (source == kClipSpecial) return std::make_unique<ClipScanner>(true);
  if (source == kDeepSeek) return std::make_unique<DeepSeekScanner>();
  if (source == R"(\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N})))") {
    return std::make_unique<ThousandsScanner>(kNumber, false);
  }
  if (source == R"(\d{1,3}(?=(?:\d{3})*\b))") {
    return std::make_unique<ThousandsScanner>(kDecimal, true);
  }
  if (source == R"(\X)") return std::make_unique<ClusterScanner>();
  if (source == R"(\s+$)") return std::make_unique<TrailingScanner>();
  return nullptr;
}

}  // namespace perilune
