// Expressions that cut all of a text into words, numbers, punctuation and white space.
#include <limits>

#include "engine/text/pattern/scanner.h"
#include "engine/text/pattern/scanner_reader.h"

namespace perilune {
namespace {

using scanning::kNewline;
using scanning::kSpace;
using scanning::Reader;

enum class Letters {
  plain,   // \p{L}+
  marked,  // [\p{L}\p{M}]+
  cased    // capitals, then others: [Lu Lt Lm Lo M]*[Ll Lm Lo M]+ or the former + the latter *
};
enum class Tail { none, newlines, slashes };  // after punctuation: nothing, [\r\n]*, [\r\n/]*
enum class Contractions { none, exact, folded };

constexpr std::uint32_t kAll = std::numeric_limits<std::uint32_t>::max();

/// What the expressions of the family differ in.
struct WordRules {
  Contractions contractions = Contractions::folded;  // cased letters: after them, else before
  Letters letters = Letters::plain;
  bool any_prefix = true;    // [^\r\n\p{L}\p{N}]? before letters, else " ?"
  std::uint32_t digits = 0;  // most of a run; 0: " ?\p{N}+"
  Tail tail = Tail::newlines;
  bool lines = true;      // \s*[\r\n]+ before \s+(?!\S)|\s+
  bool trailing = false;  // \s++$ before those
};

template <WordRules kRules>
class WordScanner final : public Pattern {
 public:
  void find(std::string_view text, TextSpan range, std::vector<TextSpan>& out) const override {
    const Reader in(text, range.last);
    for (std::uint32_t at = range.first; at < range.last;) {
      const std::uint32_t end = piece_end(in, at);
      out.push_back({at, end});
      at = end;
    }
  }
  bool scanner() const override { return true; }

 private:
  static constexpr std::uint16_t kWordFlags =
      kRules.letters == Letters::plain ? kLetter : kLetter | kMark;
  static constexpr std::uint16_t kNotPunctuation =
      kWhiteSpace | kLetter | kNumber | (kRules.letters == Letters::marked ? kMark : 0);
  static constexpr std::uint16_t kCapitals = kUpper | kTitleOrOther | kMark;

  static std::uint32_t piece_end(const Reader& in, std::uint32_t at) {
    const std::uint16_t first = in.flags(at);
    if (kRules.letters != Letters::cased && kRules.contractions != Contractions::none &&
        in.byte(at) == '\'') {
      const std::uint32_t end =
          scanning::contraction_end(in, at, kRules.contractions == Contractions::folded);
      if (end > at) return end;
    }
    if ((first & kWordFlags) != 0) return word_end(in, at, first);
    if ((first & kNumber) != 0) return number_end(in, at);
    const std::uint32_t second_at = in.next(at);
    const std::uint16_t second = in.flags_or_end(second_at);
    const bool space = (first & kSpace) != 0;
    const bool prefix = kRules.any_prefix ? (first & kNewline) == 0 : space;
    if (prefix && (second & kWordFlags) != 0) {
      return kRules.letters == Letters::cased ? with_suffix(in, cased_end(in, second_at))
                                              : in.run(second_at, kWordFlags);
    }
    if (space && kRules.digits == 0 && (second & kNumber) != 0) return in.run(second_at, kNumber);
    if ((first & kNotPunctuation) == 0) return punctuation_end(in, second_at);
    if (space && second_at < in.end && (second & kNotPunctuation) == 0) {
      return punctuation_end(in, second_at);
    }
    return space_end(in, at);
  }

  /// A word that begins at `at`, without a prefix, or with a mark as one.
  static std::uint32_t word_end(const Reader& in, std::uint32_t at, std::uint16_t first) {
    if constexpr (kRules.letters != Letters::cased) return in.run(at, kWordFlags);
    if ((first & kMark) != 0) {
      const std::uint32_t next = in.next(at);
      bool small = false;
      const std::uint32_t end = cased_end(in, next, &small);
      if (small) return with_suffix(in, end);
    }
    return with_suffix(in, cased_end(in, at));
  }

  /// The end of [Lu Lt Lm Lo M]*[Ll Lm Lo M]+, or else of [Lu Lt]+, from `at`; `small` says which.
  static std::uint32_t cased_end(const Reader& in, std::uint32_t at, bool* small = nullptr) {
    std::uint32_t end = at, both_end = at;  // after the last character of both classes
    std::uint16_t flags = 0;
    while (end < in.end && ((flags = in.flags(end)) & kCapitals) != 0) {
      const bool both = (flags & kUpper) == 0 && !is_title(in, end, flags);
      end = in.next(end);
      if (both) both_end = end;
    }
    const bool lower = end < in.end && (flags & kLower) != 0;
    if (small != nullptr) *small = lower || both_end > at;
    if (!lower) return both_end > at ? both_end : end;
    while (end < in.end && ((flags = in.flags(end)) & (kLower | kTitleOrOther | kMark)) != 0 &&
           !is_title(in, end, flags)) {
      end = in.next(end);
    }
    return end;
  }

  /// \p{Lt}: a few digraphs below U+0200 and Greek capitals with iota.
  static bool is_title(const Reader& in, std::uint32_t at, std::uint16_t flags) {
    if ((flags & kTitleOrOther) == 0 || (in.byte(at) != 0xC7 && in.byte(at) != 0xE1)) return false;
    return category(in.value(at)) == Category::Lt;
  }

  static std::uint32_t with_suffix(const Reader& in, std::uint32_t end) {
    if (kRules.contractions == Contractions::none || !in.is(end, '\'')) return end;
    return scanning::contraction_end(in, end, true);
  }

  static std::uint32_t number_end(const Reader& in, std::uint32_t at) {
    if constexpr (kRules.digits == 0 || kRules.digits == kAll) return in.run(at, kNumber);
    for (std::uint32_t count = 0; count < kRules.digits && (in.flags_or_end(at) & kNumber) != 0;
         ++count) {
      at = in.next(at);
    }
    return at;
  }

  static std::uint32_t punctuation_end(const Reader& in, std::uint32_t at) {
    at = in.run_without(at, kNotPunctuation);
    if constexpr (kRules.tail != Tail::none) {
      while (in.is(at, '\n') || in.is(at, '\r') || (kRules.tail == Tail::slashes && in.is(at, '/')))
        ++at;
    }
    return at;
  }

  static std::uint32_t space_end(const Reader& in, std::uint32_t at) {
    if constexpr (kRules.trailing) {
      if (in.run(at, kWhiteSpace) == in.end) return in.end;
    }
    return kRules.lines ? scanning::lines_end(in, at) : scanning::white_end(in, at);
  }
};

template <WordRules kRules>
std::unique_ptr<Pattern> make() {
  return std::make_unique<WordScanner<kRules>>();
}

constexpr WordRules kGpt2{
    .contractions = Contractions::exact, .any_prefix = false, .tail = Tail::none, .lines = false};
constexpr WordRules kDigits3{.digits = 3}, kDigit{.digits = 1}, kDigits{.digits = kAll};
constexpr WordRules kPlainTail{.digits = 1, .tail = Tail::none};
constexpr WordRules kDigits3Trailing{.digits = 3, .trailing = true};
constexpr WordRules kMarked{.letters = Letters::marked, .digits = 1};
constexpr WordRules kCased3{.letters = Letters::cased, .digits = 3, .tail = Tail::slashes};
constexpr WordRules kCased1{.letters = Letters::cased, .digits = 1, .tail = Tail::slashes};
constexpr WordRules kCasedPlain{.contractions = Contractions::none,
                                .letters = Letters::cased,
                                .digits = 1,
                                .tail = Tail::slashes};

struct Known {
  std::string_view source;
  std::unique_ptr<Pattern> (*make)();
};

constexpr Known kKnown[] = {
    // GPT-2, r50k, p50k and the many that took theirs
    {R"re('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)re",
     make<kGpt2>},
    {R"re('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)re", make<kGpt2>},
    {R"re('(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s)re",
     make<kGpt2>},
    // cl100k, Llama 3
    {R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re",
     make<kDigits3>},
    {R"re('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)re",
     make<kDigits3>},
    {R"re('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s)re",
     make<kDigits3Trailing>},
    // Qwen 2 and 3
    {R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re",
     make<kDigit>},
    {R"re('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)re",
     make<kDigit>},
    {R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re",
     make<kDigits>},
    // Seed-Coder
    {R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+)re",
     make<kPlainTail>},
    // Qwen 3.5
    {R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re",
     make<kMarked>},
    // o200k
    {R"re([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)re",
     make<kCased3>},
    {R"re([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)re",
     make<kCased1>},
    // Mistral's tekken
    {R"re([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)re",
     make<kCasedPlain>},
};

}  // namespace

std::unique_ptr<Pattern> word_scanner(std::string_view source) {
  for (const Known& known : kKnown) {
    if (source == known.source) return known.make();
  }
  return nullptr;
}

}  // namespace perilune
