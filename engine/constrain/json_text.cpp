#include "engine/constrain/json_text.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/utf8.h"
#include "engine/constrain/regex.h"

namespace perilune {

namespace {

constexpr std::size_t kLongestName = 200;  // bytes, of names that others must differ from

/// Characters that stand in a string as they are.
CharacterSet plain_characters() {
  return CharacterSet{{0, 0x1F}, {'"', '"'}, {'\\', '\\'}}.complement();
}

}  // namespace

Grammar::Expression JsonText::spell(Grammar& grammar, const CharacterSet& set) {
  constexpr std::pair<char, const char*> kShort[] = {{'"', "\\\""}, {'\\', "\\\\"}, {'\b', "\\b"},
                                                     {'\f', "\\f"}, {'\n', "\\n"},  {'\r', "\\r"},
                                                     {'\t', "\\t"}};
  const CharacterSet plain = plain_characters();
  std::vector<Grammar::Expression> parts;
  const CharacterSet as_is = set.without(plain.complement());
  if (!as_is.empty()) parts.push_back(grammar.characters(as_is));
  for (char32_t c = 0; c <= '\\'; ++c) {
    if (plain.contains(c) || !set.contains(c)) continue;
    const auto* found = std::find_if(std::begin(kShort), std::end(kShort), [&](const auto& one) {
      return static_cast<char32_t>(one.first) == c;
    });
    if (found != std::end(kShort)) {
      parts.push_back(grammar.text(found->second));
    } else {
      constexpr const char* kDigits = "0123456789abcdef";
      parts.push_back(grammar.text(std::string("\\u00") + kDigits[c / 16] + kDigits[c % 16]));
    }
  }
  return grammar.choice(std::move(parts));
}

Grammar::Expression JsonText::shared(Grammar::Rule& rule, const char* name,
                                     Expression (JsonText::*make)()) {
  if (rule < 0) {
    rule = grammar_.add_rule(name);
    grammar_.define(rule, (this->*make)());
  }
  return grammar_.call(rule);
}

Grammar::Expression JsonText::space() {
  if (space_ == JsonSpace::none) return grammar_.text("");
  return shared(space_rule_, "space", &JsonText::make_space);
}
Grammar::Expression JsonText::value() {
  return shared(value_, "value", &JsonText::make_value);
}
Grammar::Expression JsonText::object() {
  return shared(object_, "object", &JsonText::make_object);
}
Grammar::Expression JsonText::array() {
  return shared(array_, "array", &JsonText::make_array);
}
Grammar::Expression JsonText::string() {
  return shared(string_, "string", &JsonText::make_string);
}
Grammar::Expression JsonText::character() {
  return shared(character_, "character", &JsonText::make_character);
}

Grammar::Expression JsonText::make_space() {
  const Expression blanks = grammar_.repeat(grammar_.characters({{' ', ' '}, {'\t', '\t'}}), 0, 20);
  return grammar_.choice(
      {grammar_.text(""), grammar_.text(" "), grammar_.sequence({grammar_.text("\n"), blanks})});
}

Grammar::Expression JsonText::comma() {
  return grammar_.sequence({grammar_.text(","), space()});
}

Grammar::Expression JsonText::make_value() {
  return grammar_.choice({object(), array(), string(), number({}), grammar_.text("true"),
                          grammar_.text("false"), grammar_.text("null")});
}

Grammar::Expression JsonText::list_of(Expression item) {
  return grammar_.sequence(
      {item, grammar_.repeat(grammar_.sequence({comma(), item}), 0, Grammar::kNoEnd)});
}

Grammar::Expression JsonText::enclosed(const char* open, Expression inside, const char* close,
                                       bool may_be_empty) {
  const Expression filled = grammar_.sequence({inside, space()});
  return grammar_.sequence({grammar_.text(open), space(),
                            may_be_empty ? grammar_.optional(filled) : filled,
                            grammar_.text(close)});
}

Grammar::Expression JsonText::make_object() {
  const Expression member = grammar_.sequence({string(), grammar_.text(":"), space(), value()});
  return enclosed("{", list_of(member), "}", true);
}

Grammar::Expression JsonText::make_array() {
  return enclosed("[", list_of(value()), "]", true);
}

/// A character of a string, or an escape that stands for one.
Grammar::Expression JsonText::make_character() {
  const CharacterSet hexadecimal{{'0', '9'}, {'A', 'F'}, {'a', 'f'}};
  const Expression digit = grammar_.characters(hexadecimal);
  const Expression no_surrogate = grammar_.choice(
      {grammar_.sequence({grammar_.characters(hexadecimal.without({{'D', 'D'}, {'d', 'd'}})),
                          grammar_.repeat(digit, 3, 3)}),
       grammar_.sequence({grammar_.characters({{'D', 'D'}, {'d', 'd'}}),
                          grammar_.characters({{'0', '7'}}), grammar_.repeat(digit, 2, 2)})});
  const CharacterSet letters{{'"', '"'}, {'\\', '\\'}, {'/', '/'}, {'b', 'b'},
                             {'f', 'f'}, {'n', 'n'},   {'r', 'r'}, {'t', 't'}};
  const Expression escape =
      grammar_.sequence({grammar_.text("\\"),
                         grammar_.choice({grammar_.characters(letters),
                                          grammar_.sequence({grammar_.text("u"), no_surrogate})})});
  return grammar_.choice({grammar_.characters(plain_characters()), escape});
}

Grammar::Expression JsonText::make_string() {
  return grammar_.sequence(
      {grammar_.text("\""), grammar_.repeat(character(), 0, Grammar::kNoEnd), grammar_.text("\"")});
}

Grammar::Expression JsonText::string_of(std::int64_t least, std::int64_t most) {
  if (least == 0 && most == Grammar::kNoEnd) return string();
  return grammar_.sequence(
      {grammar_.text("\""), grammar_.repeat(character(), least, most), grammar_.text("\"")});
}

Grammar::Expression JsonText::string_like(const std::string& pattern, bool whole) {
  RegexOptions options;
  options.whole = whole;
  options.spell = spell;
  options.op = "json_schema";
  const Expression inside = read_regex(pattern, grammar_, options);
  return quoted(inside);
}

Grammar::Expression JsonText::quoted(Expression inside) {
  if (grammar_.node(inside).kind == Grammar::Kind::nothing) return inside;
  return grammar_.sequence({grammar_.text("\""), inside, grammar_.text("\"")});
}

Grammar::Expression JsonText::string_beside(std::vector<std::string> names) {
  const CharacterSet plain = plain_characters();
  std::erase_if(names, [&](const std::string& name) {
    for (std::size_t at = 0; at < name.size();) {
      const Character character = character_at(name, at);
      if (!plain.contains(character.value)) return true;  // it is never written without escapes
      at += character.size;
    }
    return false;
  });
  for (const std::string& name : names) {
    if (name.size() <= kLongestName) continue;
    throw Error(ErrorCode::length, "json_schema",
                "a name of more than " + std::to_string(kLongestName) +
                    " bytes beside additionalProperties");
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  const Expression inside = names.empty()
                                ? grammar_.repeat(grammar_.characters(plain), 0, Grammar::kNoEnd)
                                : beside(names, 0, names.size(), 0);
  return grammar_.sequence({grammar_.text("\""), inside, grammar_.text("\"")});
}

/// What is none of the sorted names [first, last), which are the same up to byte `depth`.
Grammar::Expression JsonText::beside(const std::vector<std::string>& names, std::size_t first,
                                     std::size_t last, std::size_t depth) {
  std::vector<Expression> ways;
  CharacterSet next;
  std::size_t at = first;
  if (names[first].size() == depth) {
    ++at;  // it may go on, and not end
  } else {
    ways.push_back(grammar_.text(""));
  }
  while (at < last) {
    const Character character = character_at(names[at], depth);
    const std::string_view bytes = std::string_view(names[at]).substr(depth, character.size);
    std::size_t end = at;
    while (end < last && std::string_view(names[end]).substr(depth).starts_with(bytes)) ++end;
    next.add(character.value, character.value);
    ways.push_back(
        grammar_.sequence({grammar_.text(bytes), beside(names, at, end, depth + character.size)}));
    at = end;
  }
  const CharacterSet plain = plain_characters();
  ways.push_back(
      grammar_.sequence({grammar_.characters(plain.without(next)),
                         grammar_.repeat(grammar_.characters(plain), 0, Grammar::kNoEnd)}));
  return grammar_.choice(std::move(ways));
}

}  // namespace perilune
