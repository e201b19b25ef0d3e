// Parts of JSON as grammars: strings, numbers, any value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/constrain/decimal.h"
#include "engine/constrain/grammar.h"

namespace perilune {

/// White space between the parts of arrays and objects.
enum class JsonSpace {
  none,  // `{"a":1}`
  some   // after , : and brackets nothing, a space, or a new line and at most 20 blanks
};

/// Bounds of a number; both inside unless they say otherwise.
struct NumberBounds {
  std::optional<Decimal> least, most;
  bool above_least = false, below_most = false;
};

/// Adds parts of JSON to one grammar; what is used often is one rule.
class JsonText {
 public:
  using Expression = Grammar::Expression;
  JsonText(Grammar& grammar, JsonSpace space) : grammar_(grammar), space_(space) {}

  Expression space();
  /// A comma between values, with its space.
  Expression comma();
  Expression value();   // anything
  Expression object();  // any object
  Expression array();   // any array
  Expression string();
  /// A string of so many characters; `most` may be Grammar::kNoEnd.
  Expression string_of(std::int64_t least, std::int64_t most);
  /// A string that a regular expression matches somewhere, or as a whole.
  Expression string_like(const std::string& pattern, bool whole);
  /// A string of what `inside` writes.
  Expression quoted(Expression inside);
  /// One way to write every character in a string: as it is where that may be, else the shortest
  /// escape.
  static Expression spell(Grammar& grammar, const CharacterSet& set);
  /// A string that is none of `names`, without escapes.
  Expression string_beside(std::vector<std::string> names);
  /// Whole numbers of at most 18 digits.
  Expression integer(const NumberBounds& bounds);
  /// At most 18 digits before the point and 17 after it; with bounds no exponent.
  Expression number(const NumberBounds& bounds);
  /// Multiples of `step`, which is above 0, of at most 18 digits before the point; `whole`: those
  /// that are whole. Throws Error(length) for steps of too many digits, and where more than 20,000
  /// multiples lie between bounds.
  Expression multiple(const Decimal& step, const NumberBounds& bounds, bool whole);
  /// `{ … }` or `[ … ]` around what stands in it; `inside` is never empty.
  Expression enclosed(const char* open, Expression inside, const char* close, bool may_be_empty);

 private:
  Expression shared(Grammar::Rule& rule, const char* name, Expression (JsonText::*make)());
  Expression make_space();
  Expression make_value();
  Expression make_object();
  Expression make_array();
  Expression make_string();
  Expression make_character();
  Expression character();
  Expression digits(std::int64_t least, std::int64_t most);
  Expression beside(const std::vector<std::string>& names, std::size_t first, std::size_t last,
                    std::size_t depth);
  Expression list_of(Expression item);

  Grammar& grammar_;
  JsonSpace space_;
  Grammar::Rule space_rule_ = -1, value_ = -1, object_ = -1, array_ = -1, string_ = -1,
                character_ = -1;
};

}  // namespace perilune
