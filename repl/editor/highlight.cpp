#include "repl/editor/highlight.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace perilune::repl {
namespace {

constexpr std::array<std::string_view, 22> kKeywords = {
    "and",      "break",  "do",   "else", "elseif", "end",  "false", "for",
    "function", "goto",   "if",   "in",   "local",  "nil",  "not",   "or",
    "repeat",   "return", "then", "true", "until",  "while"};

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_name(char c) {
  return c == '_' || is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// One past the end of "[[", "[==[" … that starts at `at`; `at` where none starts.
std::size_t long_bracket_end(std::string_view text, std::size_t at) {
  std::size_t open = at + 1;
  while (open < text.size() && text[open] == '=') ++open;
  if (at >= text.size() || text[at] != '[' || open >= text.size() || text[open] != '[') return at;
  const std::string close = "]" + std::string(open - at - 1, '=') + "]";
  const std::size_t end = text.find(close, open + 1);
  return end == std::string_view::npos ? text.size() : end + close.size();
}

std::size_t quoted_end(std::string_view text, std::size_t at) {
  const char mark = text[at];
  for (++at; at < text.size() && text[at] != '\n'; ++at) {
    if (text[at] == '\\')
      ++at;
    else if (text[at] == mark)
      return at + 1;
  }
  return std::min(at, text.size());
}

std::size_t number_end(std::string_view text, std::size_t at) {
  for (; at < text.size(); ++at) {
    const bool sign = (text[at] == '+' || text[at] == '-') && at > 0 &&
                      (text[at - 1] == 'e' || text[at - 1] == 'E');
    if (!is_name(text[at]) && text[at] != '.' && !sign) break;
  }
  return at;
}

struct Part {
  std::size_t end;
  Style style;
};

Part part_at(std::string_view text, std::size_t at) {
  const char c = text[at];
  if (c == '"' || c == '\'') return {quoted_end(text, at), Style::text};
  if (text.compare(at, 2, "--") == 0) {
    const std::size_t end = long_bracket_end(text, at + 2);
    return {end > at + 2 ? end : std::min(text.find('\n', at), text.size()), Style::comment};
  }
  if (c == '[') {
    const std::size_t end = long_bracket_end(text, at);
    return {std::max(end, at + 1), end > at ? Style::text : Style::plain};
  }
  if (is_digit(c)) return {number_end(text, at), Style::number};
  if (!is_name(c)) return {at + 1, Style::plain};
  std::size_t end = at;
  while (end < text.size() && is_name(text[end])) ++end;
  const std::string_view word = text.substr(at, end - at);
  const bool keyword = std::find(kKeywords.begin(), kKeywords.end(), word) != kKeywords.end();
  return {end, keyword ? Style::keyword : Style::plain};
}

// ":time rest", "?name": one past the command's own word.
std::size_t command_end(std::string_view text) {
  const std::size_t start = text.find_first_not_of(" \t\n");
  if (start == std::string_view::npos || (text[start] != ':' && text[start] != '?')) return 0;
  if (text.compare(start, 2, "::") == 0) return 0;
  return text[start] == '?' ? text.size() : std::min(text.find(' ', start), text.size());
}

std::size_t partner_of(const std::string& text, const std::vector<Style>& styles, std::size_t at) {
  const std::string_view opening = "([{", closing = ")]}";
  const std::size_t kind = opening.find(text[at]);
  const bool forward = kind != std::string_view::npos;
  std::string open(1, text[at]);
  for (std::size_t i = at; forward ? ++i < text.size() : i-- > 0;) {
    if (styles[i] != Style::plain) continue;
    const std::size_t opens = (forward ? opening : closing).find(text[i]);
    const std::size_t closes = (forward ? closing : opening).find(text[i]);
    if (opens != std::string_view::npos) open += text[i];
    if (closes == std::string_view::npos) continue;
    if ((forward ? opening : closing)[closes] != open.back()) return std::string::npos;
    open.pop_back();
    if (open.empty()) return i;
  }
  return std::string::npos;
}

}  // namespace

std::vector<Style> styles_of(const std::string& text) {
  std::vector<Style> styles(text.size(), Style::plain);
  std::size_t at = command_end(text);
  std::fill(styles.begin(), styles.begin() + static_cast<std::ptrdiff_t>(at), Style::command);
  while (at < text.size()) {
    const Part part = part_at(text, at);
    std::fill(styles.begin() + static_cast<std::ptrdiff_t>(at),
              styles.begin() + static_cast<std::ptrdiff_t>(part.end), part.style);
    at = part.end;
  }
  return styles;
}

std::pair<std::size_t, std::size_t> matching_brackets(const std::string& text,
                                                      const std::vector<Style>& styles,
                                                      std::size_t cursor) {
  const auto is_bracket = [&](std::size_t at) {
    return at < text.size() && styles[at] == Style::plain &&
           std::string_view("()[]{}").find(text[at]) != std::string_view::npos;
  };
  std::size_t at = cursor;
  if (cursor > 0 && is_bracket(cursor - 1)) at = cursor - 1;
  if (!is_bracket(at)) return {std::string::npos, std::string::npos};
  return {at, partner_of(text, styles, at)};
}

}  // namespace perilune::repl
