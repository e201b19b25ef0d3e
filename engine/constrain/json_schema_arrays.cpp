// Lists of JSON schemas.
#include <algorithm>
#include <bit>
#include <map>

#include "engine/constrain/json_schema.h"
#include "engine/constrain/json_schema_reader.h"

namespace perilune {

namespace {
constexpr std::int64_t kMostRules = 20000;  // of one list that is counted
constexpr std::size_t kMostDistinct = 10;   // values that are told apart, one rule for each subset
}  // namespace

/// What a list's keywords say, in one form.
struct SchemaReader::Items {
  std::vector<Json> first;     // of the first entries, one each
  const Json* rest = nullptr;  // null: anything
  std::int64_t least = 0, most = Grammar::kNoEnd;
  bool empty() const { return most != Grammar::kNoEnd && most < least; }
  Json of(std::int64_t i) const {
    if (i < static_cast<std::int64_t>(first.size())) return first[static_cast<std::size_t>(i)];
    return rest != nullptr ? *rest : Json(true);
  }
};

SchemaReader::Items SchemaReader::items_of(const Json& of, const std::string& place) const {
  Items items;
  const Json* prefix = of.find("prefixItems");
  items.rest = of.find("items");
  if (items.rest != nullptr && items.rest->is_array()) {  // draft 7
    prefix = items.rest;
    items.rest = of.find("additionalItems");
  }
  if (items.rest == nullptr) items.rest = of.find("unevaluatedItems");
  if (prefix != nullptr) items.first = prefix->items();
  const auto fixed = static_cast<std::int64_t>(items.first.size());
  items.least = count(of, "minItems", 0, place);
  items.most = count(of, "maxItems", Grammar::kNoEnd, place);
  const bool closed =
      (items.rest == nullptr && prefix != nullptr) ||
      (items.rest != nullptr && items.rest->is_boolean() && !items.rest->as_boolean());
  if (closed) items.most = items.most == Grammar::kNoEnd ? fixed : std::min(items.most, fixed);
  return items;
}

SchemaReader::Expression SchemaReader::array(const Json& of, const std::string& place, int depth) {
  const Items items = items_of(of, place);
  if (items.empty()) return grammar_.nothing();
  const bool unique = of.has("uniqueItems") && of.boolean("uniqueItems");
  if (unique && !(items.most >= 0 && items.most <= 1)) return distinct(of, items, place);
  if (of.has("contains") && (count(of, "minContains", 1, place) > 0 || of.has("maxContains"))) {
    return containing(of, items, place, depth);
  }
  if (items.most == 0) return text_.enclosed("[", grammar_.nothing(), "]", true);
  const auto fixed = static_cast<std::int64_t>(items.first.size());
  const auto item = [&](std::int64_t i) {
    const std::string here =
        i < fixed ? place + "/prefixItems/" + std::to_string(i) : place + "/items";
    return schema(items.of(i), here, depth + 1);
  };
  // From the last: what follows item i, and whether it may be left out.
  Expression tail = grammar_.text("");
  if (items.most == Grammar::kNoEnd || items.most > fixed) {
    const Expression more = as_rule(item(fixed), place + "/items");
    const std::int64_t taken = std::max<std::int64_t>(fixed, 1);
    const std::int64_t still = std::max<std::int64_t>(0, items.least - taken);
    tail = grammar_.repeat(grammar_.sequence({text_.comma(), more}), still,
                           items.most == Grammar::kNoEnd ? Grammar::kNoEnd : items.most - taken);
    if (fixed == 0) {
      return text_.enclosed("[", grammar_.sequence({more, tail}), "]", items.least == 0);
    }
  }
  const std::int64_t last = items.most == Grammar::kNoEnd ? fixed : std::min(items.most, fixed);
  for (std::int64_t i = last - 1; i > 0; --i) {
    const Expression more = grammar_.sequence({text_.comma(), item(i), tail});
    tail = as_rule(i >= items.least ? grammar_.optional(more) : more, place);
  }
  return text_.enclosed("[", grammar_.sequence({item(0), tail}), "]", items.least == 0);
}

/// Some entries fit `contains`, the others whatever the rest says: rules by how many stand there
/// and how many of them are known to fit. Where no more than some may fit, the others do not.
SchemaReader::Expression SchemaReader::containing(const Json& of, const Items& items,
                                                  const std::string& place, int depth) {
  const std::int64_t least = count(of, "minContains", 1, place);
  const std::int64_t most = count(of, "maxContains", Grammar::kNoEnd, place);
  const bool limited = most != Grammar::kNoEnd;
  if (limited && most < least) return grammar_.nothing();
  const std::int64_t wanted = limited ? most : least;  // further ones are not told apart
  const auto fixed = static_cast<std::int64_t>(items.first.size());
  const bool bounded = items.most != Grammar::kNoEnd;
  const std::int64_t counted = std::max({items.least, fixed, bounded ? items.most : 0, wanted});
  if ((counted + 1) * (wanted + 1) > kMostRules) refuse(place, "contains of so many entries");
  const Json& needed = of.get("contains");
  const Json plain = followed(needed, place + "/contains", depth);
  std::vector<Expression> any, fits;
  for (std::int64_t i = 0; i <= fixed; ++i) {
    const Json item = followed(items.of(i), place + "/items", depth);
    Json other = item;
    if (limited) {
      const Json fits_not = Json::object().set("not", plain);
      other = Json::object().set("allOf", Json::array().push(item).push(fits_not));
    }
    any.push_back(as_rule(schema(other, place + "/items", depth + 1), place + "/items"));
    const Json both = merge_schemas(item, plain, place + "/contains");
    fits.push_back(as_rule(schema(both, place + "/contains", depth + 1), place + "/contains"));
  }
  std::map<std::pair<std::int64_t, std::int64_t>, Grammar::Rule> rules;
  for (std::int64_t n = 0; n <= counted; ++n) {
    for (std::int64_t c = 0; c <= wanted; ++c) rules[{n, c}] = grammar_.add_rule(place);
  }
  for (std::int64_t n = 0; n <= counted; ++n) {
    for (std::int64_t c = 0; c <= wanted; ++c) {
      std::vector<Expression> ways;
      if (n >= items.least && c >= least) ways.push_back(grammar_.text(""));
      const auto at = static_cast<std::size_t>(std::min(n, fixed));
      const auto add = [&](Expression entry, std::int64_t more) {
        const Expression next =
            grammar_.call(rules[{std::min(n + 1, counted), std::min(c + more, wanted)}]);
        std::vector<Expression> parts{entry, next};
        if (n > 0) parts.insert(parts.begin(), text_.comma());
        ways.push_back(grammar_.sequence(std::move(parts)));
      };
      if (!bounded || n < items.most) {
        add(any[at], 0);
        if (c < wanted) add(fits[at], 1);
      }
      grammar_.define(rules[{n, c}], grammar_.choice(std::move(ways)));
    }
  }
  return text_.enclosed("[", grammar_.call(rules[{0, 0}]), "]", false);
}

/// Entries that differ, where each is one of a few constants: a rule for each set of those that
/// stand there.
SchemaReader::Expression SchemaReader::distinct(const Json& of, const Items& items,
                                                const std::string& place) {
  const Json item = followed(items.of(0), place + "/items", 0);
  const Json* values = item.is_object() ? item.find("enum") : nullptr;
  if (!items.first.empty() || of.has("contains") || values == nullptr ||
      values->size() > kMostDistinct) {
    refuse(place,
           "keyword uniqueItems is supported for lists whose items are an enum of at most " +
               std::to_string(kMostDistinct) + " values",
           "leave it out, and look at the answer");
  }
  std::vector<Expression> texts;
  for (const Json& value : values->items()) {
    Json one = Json::object();
    for (const auto& [key, own] : item.members()) {
      if (key != "enum") one.set(key, own);
    }
    one.set("enum", Json::array().push(value));
    texts.push_back(as_rule(schema(one, place + "/items", 1), place + "/items"));
  }
  const std::size_t sets = std::size_t{1} << texts.size();
  std::vector<Grammar::Rule> rules;
  for (std::size_t set = 0; set < sets; ++set) rules.push_back(grammar_.add_rule(place));
  for (std::size_t set = 0; set < sets; ++set) {
    const std::int64_t size = std::popcount(set);
    std::vector<Expression> ways;
    if (size > 0 && size >= items.least) ways.push_back(grammar_.text(""));
    for (std::size_t i = 0; i < texts.size(); ++i) {
      if ((set >> i & 1) != 0 || (items.most != Grammar::kNoEnd && size >= items.most)) continue;
      std::vector<Expression> parts{texts[i], grammar_.call(rules[set | std::size_t{1} << i])};
      if (size > 0) parts.insert(parts.begin(), text_.comma());
      ways.push_back(grammar_.sequence(std::move(parts)));
    }
    grammar_.define(rules[set], grammar_.choice(std::move(ways)));
  }
  return text_.enclosed("[", grammar_.call(rules[0]), "]", items.least == 0);
}

}  // namespace perilune
