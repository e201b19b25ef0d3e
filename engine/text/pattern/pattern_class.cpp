#include "engine/text/pattern/pattern_class.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/text/pattern/pattern_properties.h"

namespace perilune {
namespace {

constexpr int kMaxDepth = 64;

bool is_hex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
bool is_octal(char c) {
  return c >= '0' && c <= '7';
}
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// \p{…} and \P{…}; `in` is past the letter.
void read_property(PatternReader& in, bool negated, CharacterSet& set) {
  std::string_view name;
  if (in.take("{")) {
    const std::size_t close = in.source.find('}', in.at);
    if (close == std::string_view::npos) in.fail("\\p{ without }");
    name = in.source.substr(in.at, close - in.at);
    in.at = close + 1;
  } else {
    name = in.take_character();
  }
  if (name.starts_with('^')) {
    negated = !negated;
    name.remove_prefix(1);
  }
  const std::string items = pcre_property(name);
  if (items.empty()) in.fail("no character property \"" + std::string(name) + "\"");
  if (negated) {
    set.expressions.push_back("[^" + items + "]");
  } else {
    set.items += items;
  }
}

/// [:name:] and [:^name:]. False, with nothing read, where it is none.
bool read_posix_class(PatternReader& in, CharacterSet& set) {
  if (!in.starts_with("[:")) return false;
  const std::size_t close = in.source.find(":]", in.at + 2);
  if (close == std::string_view::npos) return false;
  std::string_view name = in.source.substr(in.at + 2, close - in.at - 2);
  const bool negated = name.starts_with('^');
  if (negated) name.remove_prefix(1);
  const std::string items = pcre_posix_class(name);
  if (items.empty()) return false;
  if (negated) {
    set.expressions.push_back("[^" + items + "]");
  } else {
    set.items += items;
  }
  in.at = close + 2;
  return true;
}

class ClassReader {
 public:
  explicit ClassReader(PatternReader& in) : in_(in) {}

  /// The class as an expression; where it may be, its members go into `outer` instead and the
  /// answer is "".
  std::string read(CharacterSet* outer, int depth) {
    if (depth > kMaxDepth) in_.fail("classes are nested too deeply");
    in_.take("[");
    const bool negated = in_.take("^");
    std::vector<CharacterSet> parts(1);  // cut by &&
    bool first = true;
    while (!in_.take("]") || first) {
      if (in_.end()) in_.fail("a class without ]");
      if (first && in_.source[in_.at - 1] == ']') {
        parts.back().items += "\\]";
      } else if (in_.take("&&")) {
        parts.emplace_back();
      } else {
        item(parts.back(), depth);
      }
      first = false;
    }
    if (parts.size() == 1 && !negated && outer != nullptr) {
      outer->items += parts[0].items;
      std::move(parts[0].expressions.begin(), parts[0].expressions.end(),
                std::back_inserter(outer->expressions));
      return "";
    }
    if (parts.size() == 1) return parts[0].expression(negated);
    CharacterSet both;
    both.expressions.push_back(intersection(parts));
    return negated ? both.expression(true) : both.expressions[0];
  }

 private:
  static std::string intersection(const std::vector<CharacterSet>& parts) {
    std::string out = "(?:";
    for (const CharacterSet& part : parts) {
      if (&part != &parts.back()) {
        out += "(?=" + part.expression(false) + ")";
      } else {
        out += part.expression(false);
      }
    }
    return out + ")";
  }

  void item(CharacterSet& set, int depth) {
    if (in_.starts_with("[")) {
      if (read_posix_class(in_, set)) return;
      std::string nested = read(&set, depth + 1);
      if (!nested.empty()) set.expressions.push_back(std::move(nested));
      return;
    }
    if (in_.starts_with("\\") && read_set_escape(in_, true, set)) return;
    set.items += character();
    if (!in_.starts_with("-") || in_.starts_with("-]") || in_.starts_with("-[") ||
        in_.starts_with("-&&")) {
      return;
    }
    in_.take("-");
    CharacterSet unwanted;
    if (in_.end() || (in_.starts_with("\\") && read_set_escape(in_, true, unwanted))) {
      in_.fail("a range in a class without its end");
    }
    set.items += "-" + character();
  }

  std::string character() {
    if (in_.starts_with("\\")) return read_character_escape(in_);
    return pcre_literal(in_.take_character());
  }

  PatternReader& in_;
};

}  // namespace

std::string CharacterSet::expression(bool negated) const {
  if (expressions.empty()) {
    if (items.empty()) return negated ? "(?s:.)" : "(*FAIL)";
    return (negated ? "[^" : "[") + items + "]";
  }
  std::string any = "(?:";
  if (!items.empty()) any += "[" + items + "]|";
  for (const std::string& expression : expressions) {
    any += expression;
    any += '|';
  }
  any.back() = ')';
  if (!negated) return any;
  return "(?:(?!" + any + ")(?s:.))";
}

bool PatternReader::take(std::string_view what) {
  if (!starts_with(what)) return false;
  at += what.size();
  return true;
}

std::string_view PatternReader::take_character() {
  if (end()) fail("it ends too early");
  const std::size_t first = at++;
  while (!end() && (static_cast<unsigned char>(source[at]) & 0xC0) == 0x80) ++at;
  return source.substr(first, at - first);
}

void PatternReader::fail(std::string_view why) const {
  throw Error(ErrorCode::format, "tokenizer",
              std::string(place) + ": the pattern \"" + std::string(source) +
                  "\" cannot be read at byte " + std::to_string(std::min(at, source.size())) +
                  ": " + std::string(why));
}

std::string read_class(PatternReader& in) {
  return ClassReader(in).read(nullptr, 0);
}

bool read_set_escape(PatternReader& in, bool in_class, CharacterSet& set) {
  if (in.at + 1 >= in.source.size()) return false;
  const char name = in.source[in.at + 1];
  const std::string word = in_class ? kPcreWordInClass : kPcreWord;
  const auto add = [&](std::string_view items) {
    set.items += items;
    in.at += 2;
    return true;
  };
  const auto add_negated = [&](const std::string& items) {
    set.expressions.push_back("[^" + items + "]");
    in.at += 2;
    return true;
  };
  switch (name) {
    case 's': return add("\\p{White_Space}");
    case 'S': return add("\\P{White_Space}");
    case 'd': return add("\\p{Nd}");
    case 'D': return add("\\P{Nd}");
    case 'w': return add(word);
    case 'W': return add_negated(word);
    case 'h': return add("0-9A-Fa-f");
    case 'H': return add_negated("0-9A-Fa-f");
    case 'p':
    case 'P':
      in.at += 2;
      read_property(in, name == 'P', set);
      return true;
    default: return false;
  }
}

std::string read_character_escape(PatternReader& in) {
  in.take("\\");
  const std::string_view name = in.take_character();
  const auto digits = [&](std::size_t most, bool (*is)(char)) {
    const std::size_t first = in.at;
    while (!in.end() && in.at - first < most && is(in.source[in.at])) ++in.at;
    return std::string(in.source.substr(first, in.at - first));
  };
  const auto number = [&](std::size_t most) {
    const bool braces = in.take("{");
    std::string value = digits(braces ? 8 : most, is_hex);
    if (value.empty() || (braces && !in.take("}"))) in.fail("a character number that is none");
    return "\\x{" + value + "}";
  };
  if (name.size() > 1) return std::string(name);
  switch (name[0]) {
    case 'x': return number(2);
    case 'u': return number(4);
    case 'v': return "\\x0B";
    case 'b': return "\\x08";  // in a class; elsewhere it never comes here
    case 't':
    case 'n':
    case 'r':
    case 'f':
    case 'a':
    case 'e': return "\\" + std::string(name);
    case 'c': return "\\c" + std::string(in.take_character());
    default: break;
  }
  if (is_octal(name[0])) return "\\o{" + std::string(name) + digits(2, is_octal) + "}";
  if (is_letter(name[0]) || is_digit(name[0])) return std::string(name);
  return pcre_literal(name);
}

std::string pcre_literal(std::string_view character) {
  const char c = character[0];
  const bool punctuation =
      character.size() == 1 && c > ' ' && c < 0x7F && !is_letter(c) && !is_digit(c);
  return (punctuation ? "\\" : "") + std::string(character);
}

}  // namespace perilune
