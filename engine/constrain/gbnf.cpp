#include "engine/constrain/gbnf.h"

#include <map>

#include "engine/base/utf8.h"
#include "engine/constrain/grammar_text.h"

namespace perilune {

namespace {

bool is_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_';
}

class GbnfReader {
 public:
  explicit GbnfReader(std::string_view text) : reader_(text, "grammar") {}

  Grammar read() {
    rule_of("root");
    skip_space(true);
    while (!reader_.at_end()) {
      read_rule();
      skip_space(true);
    }
    if (grammar_.body(0) < 0) reader_.fail("there is no rule root", "root is what the text is");
    for (const auto& [name, use] : uses_) {
      if (grammar_.body(rules_.at(name)) < 0) reader_.fail_at(use, "no rule is called " + name);
    }
    return std::move(grammar_);
  }

 private:
  using Expression = Grammar::Expression;

  void skip_space(bool lines) {
    for (;;) {
      const char c = reader_.peek();
      if (reader_.at_end()) return;
      if (c == '#') {
        while (!reader_.at_end() && reader_.peek() != '\n') reader_.skip(1);
      } else if (c == ' ' || c == '\t' || (lines && (c == '\n' || c == '\r'))) {
        reader_.skip(1);
      } else {
        return;
      }
    }
  }

  Grammar::Rule rule_of(const std::string& name) {
    const auto known = rules_.find(name);
    if (known != rules_.end()) return known->second;
    const Grammar::Rule rule = grammar_.add_rule(name);
    rules_.emplace(name, rule);
    return rule;
  }

  std::string name() {
    std::string found;
    while (is_name(reader_.peek())) {
      found += reader_.peek();
      reader_.skip(1);
    }
    if (found.empty()) reader_.fail("expected the name of a rule");
    return found;
  }

  void read_rule() {
    const std::size_t from = reader_.position();
    const std::string called = name();
    skip_space(false);
    if (!reader_.take("::=")) reader_.fail("expected ::= after the name of a rule");
    skip_space(true);
    const Grammar::Rule rule = rule_of(called);
    if (grammar_.body(rule) >= 0) reader_.fail_at(from, "rule " + called + " is there twice");
    grammar_.define(rule, alternatives(0));
    skip_space(false);
    if (!reader_.at_end() && reader_.peek() != '\n' && reader_.peek() != '\r') {
      reader_.fail("expected the end of rule " + called);
    }
  }

  Expression alternatives(int depth) {
    std::vector<Expression> parts{one_alternative(depth)};
    while (next_alternative()) parts.push_back(one_alternative(depth));
    return grammar_.choice(std::move(parts));
  }

  /// Goes past the bar before an alternative, which may stand on a line of its own.
  bool next_alternative() {
    const std::size_t from = reader_.position();
    skip_space(true);
    if (!reader_.take("|")) {
      reader_.go_back(from);
      return false;
    }
    skip_space(true);
    return true;
  }

  /// Inside parentheses lines may end anywhere.
  Expression one_alternative(int depth) {
    std::vector<Expression> parts;
    while (begins_part()) {
      parts.push_back(repeated(depth));
      skip_space(depth > 0);
    }
    if (parts.empty()) return grammar_.text("");
    return grammar_.sequence(std::move(parts));
  }

  bool begins_part() const {
    const char c = reader_.peek();
    return c == '"' || c == '[' || c == '(' || c == '.' || c == '<' || c == '!' || is_name(c);
  }

  Expression repeated(int depth) {
    Expression part = atom(depth);
    for (int repeats = 0;; ++repeats) {
      skip_space(depth > 0);
      if (reader_.take("*")) {
        part = grammar_.repeat(part, 0, Grammar::kNoEnd);
      } else if (reader_.take("+")) {
        part = grammar_.repeat(part, 1, Grammar::kNoEnd);
      } else if (reader_.take("?")) {
        part = grammar_.optional(part);
      } else if (reader_.take("{")) {
        const auto [least, most] = reader_.take_bounds();
        part = grammar_.repeat(part, least, most);
      } else {
        return part;
      }
      if (repeats == kMostRepeats) reader_.fail("too many repetitions of one part");
    }
  }

  Expression atom(int depth) {
    const std::size_t from = reader_.position();
    if (reader_.take("\"")) return text(from);
    if (reader_.take("[")) return grammar_.characters(char_class(from));
    if (reader_.take(".")) return grammar_.characters(CharacterSet::all());
    if (reader_.peek() == '<' || reader_.peek() == '!') {
      reader_.fail("tokens in a grammar are not supported", "write the text they stand for");
    }
    if (reader_.take("(")) {
      if (depth >= GrammarText::kDeepest) reader_.fail("parentheses are nested too deep");
      skip_space(true);
      const Expression inside = alternatives(depth + 1);
      skip_space(true);
      if (!reader_.take(")")) reader_.fail_at(from, "a parenthesis is not closed");
      return inside;
    }
    const std::string called = name();
    uses_.try_emplace(called, from);
    return grammar_.call(rule_of(called));
  }

  Expression text(std::size_t from) {
    std::string bytes;
    while (!reader_.take("\"")) {
      if (reader_.at_end() || reader_.peek() == '\n') reader_.fail_at(from, "a text is not closed");
      append_character(bytes, character());
    }
    return grammar_.text(bytes);
  }

  char32_t character() {
    if (!reader_.take("\\")) return reader_.take_character();
    const char letter = reader_.peek();
    const std::size_t from = reader_.position();
    reader_.skip(1);
    switch (letter) {
      case 'n': return '\n';
      case 'r': return '\r';
      case 't': return '\t';
      case 'x': return reader_.take_hexadecimal(2);
      case 'u': return reader_.take_hexadecimal(4);
      case 'U': return reader_.take_hexadecimal(8);
      case '\\':
      case '"':
      case '[':
      case ']':
      case '-':
      case '^':
      case '/': return static_cast<char32_t>(letter);
      default: reader_.fail_at(from, "there is no escape of this name");
    }
  }

  CharacterSet char_class(std::size_t from) {
    const bool inverted = reader_.take("^");
    CharacterSet set;
    while (!reader_.take("]")) {
      if (reader_.at_end()) reader_.fail_at(from, "a class is not closed");
      const char32_t low = character();
      char32_t high = low;
      if (reader_.peek() == '-' && reader_.peek(1) != ']') {
        const std::size_t dash = reader_.position();
        reader_.skip(1);
        high = character();
        if (high < low) reader_.fail_at(dash, "a range that goes backwards");
      }
      set.add(low, high);
    }
    return inverted ? set.complement() : set;
  }

  static constexpr int kMostRepeats = 8;  // one around the other

  GrammarText reader_;
  Grammar grammar_;
  std::map<std::string, Grammar::Rule> rules_;
  std::map<std::string, std::size_t> uses_;  // where a rule is first called
};

}  // namespace

Grammar read_gbnf(std::string_view text) {
  return GbnfReader(text).read();
}

}  // namespace perilune
