// Strings and numbers of JSON schemas.
#include <algorithm>
#include <cmath>

#include "engine/constrain/json_schema_keywords.h"
#include "engine/constrain/json_schema_reader.h"
#include "engine/constrain/json_schema_rewrite.h"
#include "engine/constrain/regex.h"
#include "engine/constrain/text_classes.h"

namespace perilune {

std::int64_t SchemaReader::count(const Json& of, const char* key, std::int64_t fallback,
                                 const std::string& place) const {
  const Json* value = of.find(key);
  if (value == nullptr) return fallback;
  const double number = value->as_number(place + "/" + key);
  if (!(number >= 0) || number != std::floor(number) || number > 1e6) {
    fail(place, std::string(key) + " is a whole number from 0 to 1000000");
  }
  return static_cast<std::int64_t>(number);
}

SchemaReader::Expression SchemaReader::string(const Json& of, const std::string& place) {
  const std::int64_t least = count(of, "minLength", 0, place);
  const std::int64_t most = count(of, "maxLength", Grammar::kNoEnd, place);
  const Json *pattern = of.find("pattern"), *format = of.find("format");
  if (most != Grammar::kNoEnd && most < least) return grammar_.nothing();
  const bool known = format != nullptr && is_known_format(format->as_string(place));
  if (format != nullptr && !known && format->as_string(place) != "password") {
    refuse(place, "format " + format->as_string(place) + " is not supported",
           "write it as a pattern");
  }
  Exclusions none = exclusions_of(of);
  std::erase_if(none.values, [](const Json& value) { return !value.is_string(); });
  const bool sized = least > 0 || most != Grammar::kNoEnd;
  const bool excluding = !none.values.empty() || !none.patterns.empty();
  if (!excluding && pattern == nullptr && !known) return text_.string_of(least, most);
  if (!excluding && !sized && (pattern == nullptr || !known)) {
    if (known) return text_.string_like(pattern_of_format(format->as_string()), true);
    return at(place + "/pattern",
              [&] { return text_.string_like(pattern->as_string(place), false); });
  }
  // Several at once: those that are to match come first.
  return at(place, [&] {
    std::vector<Grammar> expressions;
    if (known) expressions.push_back(regex_grammar(pattern_of_format(format->as_string())));
    if (pattern != nullptr) expressions.push_back(regex_grammar(pattern->as_string(place), false));
    const TextClasses::Matches wanted = (TextClasses::Matches{1} << expressions.size()) - 1;
    for (const std::string& one : none.patterns) expressions.push_back(regex_grammar(one, false));
    if (!none.values.empty()) {
      std::vector<std::string> texts;
      for (const Json& value : none.values) texts.push_back(value.as_string());
      Grammar& list = expressions.emplace_back();
      const Grammar::Rule root = list.add_rule("excluded");
      list.define(root, list.texts(std::move(texts)));
    }
    if (expressions.size() > 60) refuse(place, "more than 60 patterns for one string");
    return text_.quoted(TextClasses(expressions)
                            .texts(
                                grammar_, JsonText::spell,
                                [&](TextClasses::Matches all) { return all == wanted; }, least,
                                most));
  });
}

void SchemaReader::bound(const Json& of, const char* key, bool low, const std::string& place,
                         NumberBounds& bounds) const {
  const Json* value = of.find(key);
  if (value == nullptr) return;
  const bool exclusive = std::string_view(key).starts_with("exclusive");
  if (value->is_boolean()) {  // draft 4
    if (!value->as_boolean()) return;
    (low ? bounds.above_least : bounds.below_most) = true;
    return;
  }
  const double number = value->as_number(place + "/" + key);
  if (!(std::abs(number) < 9e15)) fail(place, std::string(key) + " is too large");
  const Decimal bounded = Decimal::of(number);
  auto& limit = low ? bounds.least : bounds.most;
  bool& open = low ? bounds.above_least : bounds.below_most;
  const int order = limit ? bounded.compare(*limit) : 0;
  if (!limit || (low ? order > 0 : order < 0)) {
    limit = bounded;
    open = exclusive;
  } else if (order == 0 && exclusive) {
    open = true;
  }
}

SchemaReader::Expression SchemaReader::number(const Json& of, const std::string& place,
                                              bool whole) {
  NumberBounds bounds;
  bound(of, "minimum", true, place, bounds);
  bound(of, "exclusiveMinimum", true, place, bounds);
  bound(of, "maximum", false, place, bounds);
  bound(of, "exclusiveMaximum", false, place, bounds);
  std::vector<Decimal> none;
  for (const Json& value : exclusions_of(of).values) {
    if (value.is_number()) none.push_back(Decimal::of(value.as_number()));
  }
  std::sort(none.begin(), none.end(),
            [](const Decimal& a, const Decimal& b) { return a.compare(b) < 0; });
  const Json* step = of.find("multipleOf");
  const double every = step != nullptr ? step->as_number(place + "/multipleOf") : 0;
  if (step != nullptr && !(every > 0)) fail(place, "multipleOf is above 0");
  const auto part = [&](const NumberBounds& inside) {
    if (step != nullptr) {
      return at(place + "/multipleOf",
                [&] { return text_.multiple(Decimal::of(every), inside, whole); });
    }
    return whole ? text_.integer(inside) : text_.number(inside);
  };
  // What lies between the excluded ones.
  std::vector<Expression> ways;
  NumberBounds rest = bounds;
  for (const Decimal& value : none) {
    const bool below = rest.least && value.compare(*rest.least) < 0;
    const bool above = rest.most && value.compare(*rest.most) > 0;
    if (below || above) continue;
    NumberBounds before = rest;
    before.most = value;
    before.below_most = true;
    ways.push_back(part(before));
    rest.least = value;
    rest.above_least = true;
  }
  ways.push_back(part(rest));
  return grammar_.choice(std::move(ways));
}

}  // namespace perilune
