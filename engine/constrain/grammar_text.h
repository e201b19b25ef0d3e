// What readers of regular expressions and of GBNF share: characters of a pattern, their escapes,
// counts, errors that say where.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "engine/constrain/character_set.h"
#include "engine/constrain/grammar.h"

namespace perilune {

/// A pattern from its begin to its end.
class GrammarText {
 public:
  /// `op` names the option in errors. Throws Error(argument) for text that is not UTF-8 and
  /// Error(length) for one beyond kMostBytes.
  GrammarText(std::string_view text, std::string op);

  static constexpr std::size_t kMostBytes = std::size_t{1} << 20;
  static constexpr int kDeepest = 100;  // parentheses inside parentheses

  bool at_end() const { return at_ == text_.size(); }
  /// The next byte; 0 at the end.
  char peek(std::size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  bool starts_with(std::string_view what) const { return text_.substr(at_).starts_with(what); }
  /// Goes past `what` where it is next.
  bool take(std::string_view what);
  char32_t take_character();
  void skip(std::size_t bytes) { at_ += bytes; }
  std::size_t position() const { return at_; }
  void go_back(std::size_t position) { at_ = position; }

  /// A whole number of decimal digits, where one begins.
  std::optional<std::int64_t> take_count();
  /// `digits` hexadecimal digits as a character.
  char32_t take_hexadecimal(std::size_t digits);
  /// {m}, {m,} or {m,n} after the brace; both bounds are checked.
  std::pair<std::int64_t, std::int64_t> take_bounds();

  /// Throws Error(argument) "OP: WHAT at position N (before "…")".
  [[noreturn]] void fail(const std::string& what, const std::string& hint = "") const;
  [[noreturn]] void fail_at(std::size_t position, const std::string& what,
                            const std::string& hint = "") const;

 private:
  std::string_view text_;
  std::string op_;
  std::size_t at_ = 0;
};

/// Digits, white space and letters of \d, \s and \w: of ASCII.
std::optional<CharacterSet> class_of_escape(char letter);

}  // namespace perilune
