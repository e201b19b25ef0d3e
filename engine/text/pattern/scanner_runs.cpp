// Expressions for runs of one class of characters; what lies between them is no match.
#include <limits>

#include "engine/text/pattern/scanner.h"
#include "engine/text/pattern/scanner_reader.h"

namespace perilune {
namespace {

using scanning::Reader;

constexpr std::uint32_t kAll = std::numeric_limits<std::uint32_t>::max();

struct RunRules {
  std::string_view source;
  bool (*in_class)(const Reader&, std::uint32_t);
  std::uint32_t least = 1, most = kAll;
  bool prefix = false;  // \s? before
};

template <std::uint16_t kFlags>
bool has(const Reader& in, std::uint32_t at) {
  return (in.flags(at) & kFlags) != 0;
}
bool is_digit(const Reader& in, std::uint32_t at) {
  return in.byte(at) >= '0' && in.byte(at) <= '9';
}
bool is_han_or_kana(const Reader& in, std::uint32_t at) {
  if (in.byte(at) < 0xE3) return false;
  const char32_t c = in.value(at);
  return (c >= 0x4E00 && c <= 0x9FA5) || (c >= 0x3040 && c <= 0x30FF);
}
bool is_han_or_hangul(const Reader& in, std::uint32_t at) {
  if (in.byte(at) < 0xE0) return false;
  const char32_t c = in.value(at);
  return (c >= 0x4E00 && c <= 0x9FA5) || (c >= 0x800 && c <= 0x4E00) ||
         (c >= 0xAC00 && c <= 0xD7FF);
}

constexpr RunRules kRuns[] = {
    {R"(\p{N})", has<kNumber>, 1, 1},
    {R"(\p{N}+)", has<kNumber>},
    {R"(\p{N}{1,3})", has<kNumber>, 1, 3},
    {R"(\d)", has<kDecimal>, 1, 1},
    {R"(\d+)", has<kDecimal>},
    {"[0-9]", is_digit, 1, 1},
    {"[0-9]+", is_digit},
    {"[0-9][0-9][0-9]", is_digit, 3, 3},
    {R"([\r\n])", has<scanning::kNewline>, 1, 1},
    {R"(\s+)", has<kWhiteSpace>},
    {R"(\s?\p{L}+)", has<kLetter>, 1, kAll, true},
    {R"(\s?\p{P}+)", has<kPunctuation>, 1, kAll, true},
    {"[一-龥\xE3\x81\x80-ゟ゠-ヿ]+", is_han_or_kana},
    {"[一-龥ࠀ-一가-\xED\x9F\xBF]+", is_han_or_hangul},
};

class RunScanner final : public Pattern {
 public:
  explicit RunScanner(const RunRules& rules) : rules_(rules) {}

  void find(std::string_view text, TextSpan range, std::vector<TextSpan>& out) const override {
    const Reader in(text, range.last);
    for (std::uint32_t at = range.first; at < range.last;) {
      const std::uint32_t first = at;
      if (rules_.prefix && (in.flags(at) & kWhiteSpace) != 0) at = in.next(at);
      std::uint32_t count = 0;
      while (at < in.end && count < rules_.most && rules_.in_class(in, at)) {
        at = in.next(at);
        ++count;
      }
      if (count >= rules_.least) {
        out.push_back({first, at});
      } else if (at == first) {
        at = in.next(at);
      }
    }
  }
  bool scanner() const override { return true; }

 private:
  RunRules rules_;
};

}  // namespace

std::unique_ptr<Pattern> run_scanner(std::string_view source) {
  for (const RunRules& rules : kRuns) {
    if (source == rules.source) return std::make_unique<RunScanner>(rules);
  }
  return nullptr;
}

}  // namespace perilune
