// One character of a pattern: classes, escapes and how they are written for PCRE2.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace perilune {

/// Characters that a class in the making holds: what stands inside PCRE2's brackets, and what only
/// an expression of its own (for one character) can say.
struct CharacterSet {
  std::string items;
  std::vector<std::string> expressions;

  bool empty() const { return items.empty() && expressions.empty(); }
  /// A PCRE2 expression for one character of the set, or one outside of it.
  std::string expression(bool negated) const;
};

/// Reads from a pattern's source, for the parts of its translation. Errors are Error(format) naming
/// the pattern and the byte.
struct PatternReader {
  std::string_view source, place;
  std::size_t at = 0;

  bool end() const { return at >= source.size(); }
  bool starts_with(std::string_view what) const { return source.substr(at).starts_with(what); }
  /// Passes `what` where it comes next.
  bool take(std::string_view what);
  /// Passes one whole UTF-8 character and returns it.
  std::string_view take_character();
  [[noreturn]] void fail(std::string_view why) const;
};

/// Reads the class that begins at `[`.
std::string read_class(PatternReader& in);

/// Reads an escape (from its backslash) that stands for a set of characters, as \s or \p{L} do,
/// into `set`. False, with nothing read, for another escape.
bool read_set_escape(PatternReader& in, bool in_class, CharacterSet& set);

/// Reads an escape (from its backslash) for one character, inside a class or outside: what PCRE2
/// writes for it.
std::string read_character_escape(PatternReader& in);

/// `character` where it stands for itself, with a backslash before ASCII punctuation.
std::string pcre_literal(std::string_view character);

}  // namespace perilune
