// What a text may be: expressions of characters, and rules that call one another.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/constrain/character_set.h"

namespace perilune {

/// A context-free grammar over characters. Expressions are numbers, made from the inside out, so
/// that none contains itself but through a rule.
class Grammar {
 public:
  using Expression = std::int32_t;
  using Rule = std::int32_t;
  static constexpr std::int64_t kNoEnd = -1;  // of a repetition

  enum class Kind { text, characters, sequence, choice, repeat, rule, nothing };
  struct Node {
    Kind kind = Kind::text;
    std::string text;                  // text: its bytes, maybe none
    CharacterSet set;                  // characters
    std::vector<Expression> parts;     // sequence, choice; repeat: one
    std::int64_t least = 0, most = 0;  // repeat
    Rule rule = 0;                     // rule
  };

  /// Exactly these bytes.
  Expression text(std::string_view bytes);
  /// One of these characters. Of none: a text that there is not.
  Expression characters(const CharacterSet& set);
  Expression sequence(std::vector<Expression> parts);
  Expression choice(std::vector<Expression> parts);
  Expression optional(Expression part) { return repeat(part, 0, 1); }
  /// `most` may be kNoEnd.
  Expression repeat(Expression part, std::int64_t least, std::int64_t most);
  Expression call(Rule rule);
  /// One of many texts: their common beginnings are told once.
  Expression texts(std::vector<std::string> list);
  /// What no text is.
  Expression nothing();

  /// A rule to be defined later; the first is what the whole text is. `name` is for errors.
  Rule add_rule(std::string name);
  void define(Rule rule, Expression body) { rules_[static_cast<std::size_t>(rule)].body = body; }
  std::size_t rules() const { return rules_.size(); }
  const std::string& rule_name(Rule rule) const {
    return rules_[static_cast<std::size_t>(rule)].name;
  }
  Expression body(Rule rule) const { return rules_[static_cast<std::size_t>(rule)].body; }
  const Node& node(Expression expression) const {
    return nodes_[static_cast<std::size_t>(expression)];
  }

 private:
  struct Named {
    std::string name;
    Expression body = -1;
  };
  Expression add(Node node);
  Expression prefix_tree(const std::vector<std::string>& list, std::size_t first, std::size_t last,
                         std::size_t depth, int level);

  std::vector<Node> nodes_;
  std::vector<Named> rules_;
};

}  // namespace perilune
