// Regular expressions as grammars.
#pragma once

#include <functional>
#include <string_view>

#include "engine/constrain/grammar.h"

namespace perilune {

/// How the characters of a regular expression are spelled: as themselves, or inside a JSON string.
using Spell = std::function<Grammar::Expression(Grammar&, const CharacterSet&)>;

struct RegexOptions {
  bool whole = true;  // false: what it matches may stand anywhere, unless ^ and $ say where
  Spell spell;        // none: as themselves
  CharacterSet any = CharacterSet::all();  // around what matches
  const char* op = "regex";
};

/// Characters, ., [classes], \d \w \s (ASCII) and their opposites, groups, |, * + ? {m,n} (lazy
/// ones mean the same), \n \r \t \f \v \xHH \uHHHH \u{H}, ^ and $ at the ends. `.` is all but a
/// newline. Throws Error(argument) with the position for anything else (look-around, references
/// back, \b, \p, flags), Error(length) where it is too large.
Grammar::Expression read_regex(std::string_view text, Grammar& grammar,
                               const RegexOptions& options = {});

/// A grammar whose texts are those that a regular expression matches as a whole, or somewhere.
Grammar regex_grammar(std::string_view text, bool whole = true);

}  // namespace perilune
