#include "engine/constrain/grammar_text.h"

#include "engine/base/error.h"
#include "engine/base/utf8.h"

namespace perilune {

namespace {
constexpr std::int64_t kMostRepeats = 100000;
}

GrammarText::GrammarText(std::string_view text, std::string op) : text_(text), op_(std::move(op)) {
  if (text.size() > kMostBytes) {
    throw Error(ErrorCode::length, op_,
                std::to_string(text.size()) + " bytes; at most " + std::to_string(kMostBytes) +
                    " are read");
  }
  if (!is_utf8(text)) throw Error(ErrorCode::argument, op_, "the text is not valid UTF-8");
}

bool GrammarText::take(std::string_view what) {
  if (!starts_with(what)) return false;
  at_ += what.size();
  return true;
}

char32_t GrammarText::take_character() {
  if (at_end()) fail("it ends too early");
  const Character character = character_at(text_, at_);
  at_ += character.size;
  return character.value;
}

std::optional<std::int64_t> GrammarText::take_count() {
  const std::size_t from = at_;
  std::int64_t value = 0;
  while (peek() >= '0' && peek() <= '9') {
    value = value * 10 + (peek() - '0');
    if (value > kMostRepeats) {
      fail_at(from, "more than " + std::to_string(kMostRepeats) + " repetitions");
    }
    ++at_;
  }
  if (at_ == from) return std::nullopt;
  return value;
}

char32_t GrammarText::take_hexadecimal(std::size_t digits) {
  char32_t value = 0;
  for (std::size_t i = 0; i < digits; ++i) {
    const char c = peek();
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) fail("expected " + std::to_string(digits) + " hexadecimal digits");
    value = value * 16 + static_cast<char32_t>(digit);
    ++at_;
  }
  if (value > kLastCharacter || (value >= 0xD800 && value <= 0xDFFF)) fail("no such character");
  return value;
}

std::pair<std::int64_t, std::int64_t> GrammarText::take_bounds() {
  const std::size_t from = at_;
  const auto least = take_count();
  const bool comma = take(",");
  const auto most = comma ? take_count() : least;
  if (!least && !most) fail_at(from, "a repetition without a number");
  if (!take("}")) fail("a repetition is not closed", "write {m}, {m,} or {m,n}");
  if (most && least.value_or(0) > *most) fail_at(from, "the least is above the most");
  return {least.value_or(0), most.value_or(Grammar::kNoEnd)};
}

void GrammarText::fail(const std::string& what, const std::string& hint) const {
  fail_at(at_, what, hint);
}

void GrammarText::fail_at(std::size_t position, const std::string& what,
                          const std::string& hint) const {
  constexpr std::size_t kShown = 20;
  std::size_t end = std::min(position + kShown, text_.size());
  while (end < text_.size() && (static_cast<unsigned char>(text_[end]) & 0xC0) == 0x80) ++end;
  const std::string_view rest = text_.substr(position, end - position);
  throw Error(ErrorCode::argument, op_,
              what + " at position " + std::to_string(position + 1) +
                  (rest.empty() ? " (the end)" : ", before \"" + std::string(rest) + "\""))
      .hint(hint);
}

std::optional<CharacterSet> class_of_escape(char letter) {
  const CharacterSet digits{{'0', '9'}};
  const CharacterSet words{{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
  const CharacterSet spaces{{'\t', '\r'}, {' ', ' '}};
  switch (letter) {
    case 'd': return digits;
    case 'D': return digits.complement();
    case 'w': return words;
    case 'W': return words.complement();
    case 's': return spaces;
    case 'S': return spaces.complement();
    default: return std::nullopt;
  }
}

}  // namespace perilune
