// Objects of JSON schemas.
#include <algorithm>
#include <map>

#include "engine/constrain/json_schema.h"
#include "engine/constrain/json_schema_reader.h"
#include "engine/constrain/json_schema_rewrite.h"
#include "engine/constrain/regex.h"
#include "engine/constrain/text_classes.h"

namespace perilune {

namespace {

constexpr std::int64_t kMostRules = 50000;  // of one object whose members are counted
constexpr std::size_t kMostPatterns = 40;

bool is_false(const Json* schema) {
  return schema != nullptr && schema->is_boolean() && !schema->as_boolean();
}

/// Whether properties say more than which members there are not.
bool says_members(const Json* properties) {
  if (properties == nullptr) return false;
  const auto& all = properties->members();
  return all.empty() || std::any_of(all.begin(), all.end(),
                                    [](const auto& one) { return !is_false(&one.second); });
}

/// A grammar of some texts.
Grammar list_grammar(const std::vector<std::string>& names) {
  Grammar list;
  const Grammar::Rule root = list.add_rule("names");
  list.define(root, list.texts(names));
  return list;
}

}  // namespace

struct SchemaReader::Member {
  Expression text;  // "name": value
  bool required;
};

/// What an object's keywords say of the names of members.
struct SchemaReader::Names {
  std::vector<std::string> own;     // of properties, and what is required beside them
  std::vector<std::string> needed;  // required
  std::vector<std::string> patterns;
  std::vector<Json> pattern_schemas;
  const Json* additional = nullptr;  // of all other names; null: nothing was said
  const Json* allowed = nullptr;     // propertyNames
  bool open = false;                 // there may be other names
};

SchemaReader::Names SchemaReader::names_of(const Json& of, const std::string& place) const {
  Names names;
  const Json* properties = of.find("properties");
  const Json* required = of.find("required");
  if (required != nullptr && required->is_array()) names.needed = of.strings("required");
  if (properties != nullptr) {
    for (const auto& [name, one] : properties->members()) names.own.push_back(name);
  }
  if (const Json* patterns = of.find("patternProperties")) {
    for (const auto& [pattern, one] : patterns->members()) {
      names.patterns.push_back(pattern);
      names.pattern_schemas.push_back(one);
    }
  }
  if (names.patterns.size() > kMostPatterns) {
    refuse(place, "patternProperties of more than " + std::to_string(kMostPatterns) + " patterns");
  }
  names.additional = of.find("additionalProperties");
  if (names.additional == nullptr) names.additional = of.find("unevaluatedProperties");
  names.allowed = of.find("propertyNames");
  const bool listed = !names.patterns.empty() || says_members(properties);
  names.open = names.additional != nullptr ? !is_false(names.additional) : !listed;
  for (const std::string& name : names.needed) {
    if (std::find(names.own.begin(), names.own.end(), name) == names.own.end()) {
      names.own.push_back(name);
    }
  }
  return names;
}

/// The members that are named, in their order. False: one that must be there cannot be.
bool SchemaReader::add_members(const Json& of, const Names& names, std::vector<Member>& members,
                               const std::string& place, int depth) {
  const Json* properties = of.find("properties");
  std::vector<TextClasses> patterns;
  for (const std::string& pattern : names.patterns) {
    patterns.push_back(at(place + "/patternProperties",
                          [&] { return TextClasses({regex_grammar(pattern, false)}); }));
  }
  for (const std::string& name : names.own) {
    const Json* said = properties != nullptr ? properties->find(name) : nullptr;
    std::string here = place;
    here.append("/properties/").append(name);
    Json schema_of = said != nullptr ? *said : Json(true);
    bool known = said != nullptr;
    for (std::size_t i = 0; i < patterns.size(); ++i) {
      if (patterns[i].matches(name) == 0) continue;
      schema_of = merge_schemas(schema_of, names.pattern_schemas[i], here);
      known = true;
    }
    if (!known && !names.open) {
      if (branches_ > 0) return false;
      fail(place, "required names \"" + name + "\", which additionalProperties forbids");
    }
    if (!known && names.additional != nullptr) schema_of = *names.additional;
    const bool must =
        std::find(names.needed.begin(), names.needed.end(), name) != names.needed.end();
    if (is_false(&schema_of)) {
      if (must) return false;
      continue;
    }
    const Expression value = schema(schema_of, here, depth + 1);
    members.push_back({as_rule(grammar_.sequence({grammar_.text(write_json(Json(name)) + ":"),
                                                  text_.space(), value}),
                               here),
                       must});
  }
  return true;
}

/// A member with another name; nothing() where there are none.
SchemaReader::Expression SchemaReader::others(const Names& names, const std::string& place,
                                              int depth) {
  const auto member = [&](Expression name, const Json& value, const std::string& here) {
    if (grammar_.node(name).kind == Grammar::Kind::nothing || is_false(&value)) {
      return grammar_.nothing();
    }
    const Expression inside = value.is_boolean() ? text_.value() : schema(value, here, depth + 1);
    return as_rule(grammar_.sequence({name, grammar_.text(":"), text_.space(), inside}), here);
  };
  const Json additional = names.additional != nullptr ? *names.additional : Json(true);
  const std::string more = place + "/additionalProperties";
  if (names.patterns.empty() && names.allowed == nullptr) {
    return names.open ? member(text_.string_beside(names.own), additional, more)
                      : grammar_.nothing();
  }
  // Bit 0: a name of its own; bit 1: propertyNames; then the patterns.
  return at(place, [&] {
    std::vector<Grammar> expressions{list_grammar(names.own), allowed_names(names, place)};
    for (const std::string& pattern : names.patterns) {
      expressions.push_back(regex_grammar(pattern, false));
    }
    const TextClasses classes(expressions);
    std::vector<Expression> ways;
    const auto names_of = [&](TextClasses::Matches wanted) {
      return text_.quoted(classes.texts(grammar_, JsonText::spell,
                                        [=](TextClasses::Matches all) { return all == wanted; }));
    };
    for (std::size_t i = 0; i < names.patterns.size(); ++i) {
      ways.push_back(member(names_of(2 | TextClasses::Matches{4} << i), names.pattern_schemas[i],
                            place + "/patternProperties"));
    }
    if (names.open) ways.push_back(member(names_of(2), additional, more));
    return grammar_.choice(std::move(ways));
  });
}

/// The names that propertyNames allows: all without it.
Grammar SchemaReader::allowed_names(const Names& names, const std::string& place) const {
  if (names.allowed == nullptr) return regex_grammar("", false);
  const Json& of = *names.allowed;
  const std::string here = place + "/propertyNames";
  if (of.is_boolean()) return of.as_boolean() ? regex_grammar("", false) : list_grammar({});
  for (const auto& [key, value] : of.members()) {
    if (key == "pattern" || key == "enum" || key == "type" || key == "maxLength" ||
        key == "minLength") {
      continue;
    }
    refuse(here, "keyword " + key + " is not supported", "pattern, enum and lengths are");
  }
  const int said = static_cast<int>(of.has("pattern")) + static_cast<int>(of.has("enum")) +
                   static_cast<int>(of.has("minLength") || of.has("maxLength"));
  if (said > 1) refuse(here, "only one of pattern, enum and a length is supported");
  if (of.has("enum")) return list_grammar(of.strings("enum"));
  if (of.has("pattern")) return regex_grammar(of.string("pattern"), false);
  const std::int64_t least = count(of, "minLength", 0, here);
  const std::int64_t most = count(of, "maxLength", Grammar::kNoEnd, here);
  if (most > 200 || least > 200) refuse(here, "names of more than 200 characters");
  return regex_grammar("[\\s\\S]{" + std::to_string(least) + "," +
                       (most == Grammar::kNoEnd ? "" : std::to_string(most)) + "}");
}

SchemaReader::Expression SchemaReader::object(const Json& of, const std::string& place, int depth) {
  for (const Json& value : exclusions_of(of).values) {
    if (value.is_object()) refuse(place, "an object as what not excludes is not supported");
  }
  const Names names = names_of(of, place);
  std::vector<Member> members;
  if (!add_members(of, names, members, place, depth)) return grammar_.nothing();
  const std::int64_t least = count(of, "minProperties", 0, place);
  const std::int64_t most = count(of, "maxProperties", Grammar::kNoEnd, place);
  if (most != Grammar::kNoEnd && most < least) return grammar_.nothing();
  return listed(members, others(names, place, depth), least, most, place);
}

/// Members in their order, those that need not be there left out at will; then `more` of others;
/// `least` to `most` in all. Rules from the last member to the first, by how many stand before.
SchemaReader::Expression SchemaReader::listed(const std::vector<Member>& members, Expression more,
                                              std::int64_t least, std::int64_t most,
                                              const std::string& place) {
  const bool bounded = most != Grammar::kNoEnd;
  const bool others = grammar_.node(more).kind != Grammar::Kind::nothing;
  const std::int64_t counted = std::max<std::int64_t>({1, least, bounded ? most : 0});
  const auto count = static_cast<std::int64_t>(members.size());
  if ((counted + 1) * (count + 1) > kMostRules) refuse(place, "so many members, counted");
  const auto with_comma = [&](std::int64_t before, Expression member, Expression after) {
    std::vector<Expression> parts{member, after};
    if (before > 0) parts.insert(parts.begin(), text_.comma());
    return grammar_.sequence(std::move(parts));
  };
  // after[n]: what may follow n members.
  std::vector<Expression> after(static_cast<std::size_t>(counted) + 1, grammar_.nothing());
  const auto at = [&](std::int64_t n) -> Expression& {
    return after[static_cast<std::size_t>(std::min(n, counted))];
  };
  for (std::int64_t n = counted; n >= 0; --n) {
    std::vector<Expression> ways;
    const bool end = n > 0 && n >= least;  // `{}` is the caller's
    if (end) ways.push_back(grammar_.text(""));
    if (others && n == counted && !bounded) {
      ways = {grammar_.repeat(grammar_.sequence({text_.comma(), more}), 0, Grammar::kNoEnd)};
    } else if (others && (!bounded || n < most)) {
      ways.push_back(with_comma(n, more, at(n + 1)));
    }
    at(n) = as_rule(grammar_.choice(std::move(ways)), place);
  }
  bool may_be_empty = least == 0;
  for (std::int64_t i = count - 1; i >= 0; --i) {
    const Member& member = members[static_cast<std::size_t>(i)];
    may_be_empty = may_be_empty && !member.required;
    std::vector<Expression> next(after.size(), grammar_.nothing());
    for (std::int64_t n = 0; n <= counted; ++n) {
      std::vector<Expression> ways;
      if (!bounded || n < most) ways.push_back(with_comma(n, member.text, at(n + 1)));
      if (!member.required) ways.push_back(at(n));
      next[static_cast<std::size_t>(n)] = as_rule(grammar_.choice(std::move(ways)), place);
    }
    after = std::move(next);
  }
  return text_.enclosed("{", after[0], "}", may_be_empty);
}

}  // namespace perilune
