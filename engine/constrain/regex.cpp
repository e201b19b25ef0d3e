#include "engine/constrain/regex.h"

#include "engine/constrain/grammar_text.h"

namespace perilune {

namespace {

class RegexReader {
 public:
  RegexReader(std::string_view text, Grammar& grammar, const RegexOptions& options)
      : reader_(text, options.op), grammar_(grammar), options_(options) {}

  Grammar::Expression read() {
    const Grammar::Expression all = alternatives(0);
    if (!reader_.at_end()) reader_.fail("a closing parenthesis that none opens");
    return all;
  }

 private:
  using Expression = Grammar::Expression;

  Expression spelled(const CharacterSet& set) {
    if (set.empty()) reader_.fail("a class without characters");
    return options_.spell ? options_.spell(grammar_, set) : grammar_.characters(set);
  }
  Expression anything() { return grammar_.repeat(spelled(options_.any), 0, Grammar::kNoEnd); }

  Expression alternatives(int depth) {
    std::vector<Expression> parts{one_alternative(depth)};
    while (reader_.take("|")) parts.push_back(one_alternative(depth));
    return grammar_.choice(std::move(parts));
  }

  Expression one_alternative(int depth) {
    std::vector<Expression> parts;
    const bool outside = depth == 0;
    if (reader_.peek() == '^') {
      if (!outside) reader_.fail("^ stands only at the beginning");
      reader_.skip(1);
    } else if (outside && !options_.whole) {
      parts.push_back(anything());
    }
    bool closed = false;
    while (!reader_.at_end() && reader_.peek() != '|' && reader_.peek() != ')') {
      if (reader_.peek() == '$') {
        const char after = reader_.peek(1);
        if (!outside || (after != '\0' && after != '|')) {
          reader_.fail("$ stands only at the end");
        }
        reader_.skip(1);
        closed = true;
        break;
      }
      parts.push_back(repeated(depth));
    }
    if (outside && !options_.whole && !closed) parts.push_back(anything());
    if (parts.empty()) return grammar_.text("");
    return grammar_.sequence(std::move(parts));
  }

  Expression repeated(int depth) {
    const std::size_t from = reader_.position();
    Expression part = atom(depth);
    std::int64_t least = 1, most = 1;
    if (reader_.take("*")) {
      least = 0, most = Grammar::kNoEnd;
    } else if (reader_.take("+")) {
      most = Grammar::kNoEnd;
    } else if (reader_.take("?")) {
      least = 0;
    } else if (reader_.take("{")) {
      std::tie(least, most) = reader_.take_bounds();
    } else {
      return part;
    }
    reader_.take("?");  // lazy: the same texts
    const char next = reader_.peek();
    if (next == '+') reader_.fail("possessive repetitions are not supported");
    if (next == '*' || next == '?' || next == '{') {
      reader_.fail_at(from, "two repetitions of one part", "put the first in parentheses");
    }
    return grammar_.repeat(part, least, most);
  }

  Expression group(int depth) {
    const std::size_t from = reader_.position() - 1;
    if (depth >= GrammarText::kDeepest) reader_.fail("parentheses are nested too deep");
    if (reader_.take("?")) {
      const bool named =
          reader_.starts_with("P<") ||
          (reader_.peek() == '<' && reader_.peek(1) != '=' && reader_.peek(1) != '!');
      if (named) {
        while (!reader_.at_end() && reader_.peek() != '>') reader_.skip(1);
        if (!reader_.take(">")) reader_.fail_at(from, "a group's name is not closed");
      } else if (!reader_.take(":")) {
        reader_.fail_at(from, "look-around, flags and conditions are not supported",
                        "only (…), (?:…) and (?<name>…) are");
      }
    }
    const Expression inside = alternatives(depth + 1);
    if (!reader_.take(")")) reader_.fail_at(from, "a parenthesis is not closed");
    return inside;
  }

  Expression atom(int depth) {
    const char next = reader_.peek();
    switch (next) {
      case '(': reader_.skip(1); return group(depth);
      case '[': reader_.skip(1); return spelled(char_class());
      case '.': reader_.skip(1); return spelled(CharacterSet{{'\n', '\n'}}.complement());
      case '\\': {
        reader_.skip(1);
        if (const auto set = class_of_escape(reader_.peek())) {
          reader_.skip(1);
          return spelled(*set);
        }
        const char32_t character = escaped(false);
        return spelled({{character, character}});
      }
      case '*':
      case '+':
      case '?': reader_.fail("nothing to repeat");
      case '{': reader_.fail("nothing to repeat", "write \\{ for the character");
      case '^': reader_.fail("^ stands only at the beginning");
      default: {
        const char32_t character = reader_.take_character();
        return spelled({{character, character}});
      }
    }
  }

  /// The character of an escape, after its backslash.
  char32_t escaped(bool in_class) {
    const char letter = reader_.peek();
    const auto simple = [&](char32_t character) {
      reader_.skip(1);
      return character;
    };
    switch (letter) {
      case 'n': return simple('\n');
      case 'r': return simple('\r');
      case 't': return simple('\t');
      case 'f': return simple('\f');
      case 'v': return simple('\v');
      case '0':
        if (reader_.peek(1) >= '0' && reader_.peek(1) <= '9') {
          reader_.fail("octal escapes are not supported");
        }
        return simple(0);
      case 'b':
        if (in_class) return simple('\b');
        break;
      case 'x': reader_.skip(1); return hexadecimal(2);
      case 'u': reader_.skip(1); return hexadecimal(4);
      default: break;
    }
    const bool letter_or_digit = (letter >= '0' && letter <= '9') ||
                                 (letter >= 'A' && letter <= 'Z') ||
                                 (letter >= 'a' && letter <= 'z');
    if (reader_.at_end()) reader_.fail("a backslash at the end");
    if (letter_or_digit) {
      reader_.fail(std::string("\\") + letter + " is not supported",
                   "\\d \\D \\w \\W \\s \\S \\n \\r \\t \\f \\v \\xHH \\uHHHH are");
    }
    return reader_.take_character();
  }

  char32_t hexadecimal(std::size_t digits) {
    if (!reader_.take("{")) return reader_.take_hexadecimal(digits);
    std::size_t count = 0;
    while (reader_.peek(count) != '}' && reader_.peek(count) != '\0' && count < 6) ++count;
    const char32_t character = reader_.take_hexadecimal(std::max<std::size_t>(count, 1));
    if (!reader_.take("}")) reader_.fail("a brace is not closed");
    return character;
  }

  CharacterSet char_class() {
    const std::size_t from = reader_.position() - 1;
    const bool inverted = reader_.take("^");
    CharacterSet set;
    bool first = true;
    while (first || reader_.peek() != ']') {
      if (reader_.at_end()) reader_.fail_at(from, "a class is not closed");
      if (reader_.starts_with("[:")) reader_.fail("named classes are not supported");
      first = false;
      const auto low = class_member(set);
      if (!low || reader_.peek() != '-' || reader_.peek(1) == ']') {
        if (low) set.add(*low, *low);
        continue;
      }
      const std::size_t dash = reader_.position();
      reader_.skip(1);
      CharacterSet other;
      const auto high = class_member(other);
      if (!high || *high < *low) reader_.fail_at(dash, "a range that goes backwards");
      set.add(*low, *high);
    }
    reader_.skip(1);
    return inverted ? set.complement() : set;
  }

  /// One character of a class; none where it was a class itself, which `set` has then.
  std::optional<char32_t> class_member(CharacterSet& set) {
    if (!reader_.take("\\")) return reader_.take_character();
    if (const auto known = class_of_escape(reader_.peek())) {
      reader_.skip(1);
      set.add(*known);
      return std::nullopt;
    }
    return escaped(true);
  }

  GrammarText reader_;
  Grammar& grammar_;
  const RegexOptions& options_;
};

}  // namespace

Grammar::Expression read_regex(std::string_view text, Grammar& grammar,
                               const RegexOptions& options) {
  return RegexReader(text, grammar, options).read();
}

Grammar regex_grammar(std::string_view text, bool whole) {
  Grammar grammar;
  RegexOptions options;
  options.whole = whole;
  const Grammar::Rule root = grammar.add_rule("of the expression");
  grammar.define(root, read_regex(text, grammar, options));
  return grammar;
}

}  // namespace perilune
