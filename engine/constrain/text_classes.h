// Several expressions at once: which of them a text matches, and all texts that match some and not
// others, as a grammar. A deterministic automaton over characters.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string_view>
#include <vector>

#include "engine/constrain/grammar.h"
#include "engine/constrain/regex.h"

namespace perilune {

struct LooseTexts;

class TextClasses {
 public:
  /// Bit i: expression i matches.
  using Matches = std::uint64_t;

  /// The roots of at most 64 grammars without calls of rules (regular expressions, lists of texts).
  /// Throws Error(length) for expressions that take too many states together.
  explicit TextClasses(const std::vector<Grammar>& expressions);

  Matches matches(std::string_view text) const;
  /// All texts of `least` to `most` characters (Grammar::kNoEnd: any number) whose matches are
  /// accepted, each character as `spell` writes it; nothing() where there are none. Throws
  /// Error(length) where counting characters takes too many states.
  Grammar::Expression texts(Grammar& into, const Spell& spell,
                            const std::function<bool(Matches)>& accepted, std::int64_t least = 0,
                            std::int64_t most = Grammar::kNoEnd) const;

 private:
  static constexpr std::int32_t kNowhere = -1;
  struct State {
    Matches matches = 0;
    std::vector<std::int32_t> targets;  // by class of characters
  };
  struct Emission;
  std::size_t class_of(char32_t character) const;
  void determine(const LooseTexts& loose, std::vector<std::int32_t> first);

  std::vector<char32_t> class_starts_;  // ascending; a class goes on to the next
  std::vector<State> states_;           // the first is where a text begins
};

}  // namespace perilune
