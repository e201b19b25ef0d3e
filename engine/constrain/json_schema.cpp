#include "engine/constrain/json_schema.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "engine/base/error.h"
#include "engine/constrain/json_schema_keywords.h"

namespace perilune {

namespace {

using Expression = Grammar::Expression;

constexpr int kDeepest = 200;                 // schemas inside schemas, references followed
constexpr std::size_t kMostSchemas = 100000;  // read, those behind references once

class SchemaReader {
 public:
  SchemaReader(Json schema, JsonSpace space) : root_(std::move(schema)), text_(grammar_, space) {}

  Grammar read() {
    const Grammar::Rule root = grammar_.add_rule("#");
    references_.emplace("#", root);
    grammar_.define(root, schema(root_, "#", 0));
    return std::move(grammar_);
  }

 private:
  [[noreturn]] void fail(const std::string& place, const std::string& what) const {
    throw Error(ErrorCode::argument, "json_schema", place + ": " + what);
  }
  [[noreturn]] void refuse(const std::string& place, const std::string& what,
                           std::string hint = "") const {
    throw Error(ErrorCode::unsupported, "json_schema", place + ": " + what).hint(std::move(hint));
  }

  // ---------------------------------------------------------------- one schema

  Expression schema(const Json& of, const std::string& place, int depth) {
    if (depth > kDeepest || ++schemas_ > kMostSchemas) {
      throw Error(ErrorCode::length, "json_schema",
                  place + ": nested more than " + std::to_string(kDeepest) +
                      " levels deep, or more than " + std::to_string(kMostSchemas) + " schemas");
    }
    if (of.is_boolean()) return of.as_boolean() ? text_.value() : grammar_.nothing();
    if (!of.is_object()) fail(place, "a schema is an object or a boolean");
    check_keywords(of, place);
    if (const Json* target = of.find("$ref")) return reference(of, *target, place, depth);
    if (of.has("allOf")) return schema(merged(of, place, depth), place, depth + 1);
    for (const char* key : {"anyOf", "oneOf"}) {
      if (of.has(key)) return branches(of, key, place, depth);
    }
    if (of.has("enum") || of.has("const")) return literals(of, place);
    std::vector<Expression> ways;
    for (const std::string& type : types_of(of, place)) {
      ways.push_back(typed(of, type, place, depth));
    }
    if (of.find("nullable") != nullptr && of.boolean("nullable")) {
      ways.push_back(grammar_.text("null"));
    }
    return grammar_.choice(std::move(ways));
  }

  void check_keywords(const Json& of, const std::string& place) const {
    for (const auto& [key, value] : of.members()) {
      if (is_silent_keyword(key) || is_keyword(key)) continue;
      const bool idle = (key == "uniqueItems" && value == Json(false)) ||
                        (key == "multipleOf" && value == Json(1)) ||
                        (key == "minProperties" && value == Json(0)) ||
                        (key == "patternProperties" && value.is_object() && value.empty());
      if (!idle) refuse(place, "keyword " + key + " is not supported");
    }
  }

  /// A schema without a keyword or some of them.
  static Json without(const Json& of, const std::vector<std::string>& keys) {
    Json rest = Json::object();
    for (const auto& [key, value] : of.members()) {
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) rest.set(key, value);
    }
    return rest;
  }
  static bool says_nothing(const Json& of) {
    return std::all_of(of.members().begin(), of.members().end(),
                       [](const auto& member) { return is_silent_keyword(member.first); });
  }

  // ---------------------------------------------------------------- references and branches

  const Json& target_of(const std::string& reference, const std::string& place) const {
    if (reference == "#") return root_;
    if (reference.rfind("#/", 0) != 0) {
      refuse(place, "$ref \"" + reference + "\" is not supported",
             "only places of the same schema are: #/$defs/NAME");
    }
    const Json* at = &root_;
    for (std::size_t from = 2; from <= reference.size();) {
      const std::size_t end = std::min(reference.find('/', from), reference.size());
      const std::string key = plain(reference.substr(from, end - from));
      if (at->is_array()) {
        std::size_t index = 0;
        const bool number =
            !key.empty() && key.size() < 8 &&
            std::all_of(key.begin(), key.end(), [](char c) { return c >= '0' && c <= '9'; });
        index = number ? static_cast<std::size_t>(std::stoul(key)) : at->size();
        at = index < at->size() ? &at->at(index) : nullptr;
      } else {
        at = at->find(key);
      }
      if (at == nullptr) fail(place, "$ref \"" + reference + "\" leads nowhere");
      from = end + 1;
    }
    return *at;
  }

  /// A step of a JSON pointer without its escapes.
  static std::string plain(std::string step) {
    for (const auto& [escape, meant] : {std::pair("~1", "/"), std::pair("~0", "~")}) {
      for (std::size_t at = step.find(escape); at != std::string::npos;
           at = step.find(escape, at + 1)) {
        step.replace(at, 2, meant);
      }
    }
    return step;
  }

  Expression reference(const Json& of, const Json& target, const std::string& place, int depth) {
    const std::string& name = target.as_string(place + "/$ref");
    const Json& found = target_of(name, place);
    const Json rest = without(of, {"$ref"});
    if (!says_nothing(rest)) return schema(merge_schemas(rest, found, place), place, depth + 1);
    const auto [known, fresh] = references_.try_emplace(name, -1);
    if (fresh) {
      const Grammar::Rule rule = grammar_.add_rule(name);
      known->second = rule;
      grammar_.define(rule, schema(found, name, depth + 1));
      return grammar_.call(rule);
    }
    return grammar_.call(known->second);
  }

  /// A schema with what it refers to put in its place.
  Json followed(const Json& of, const std::string& place, int depth) const {
    if (depth > kDeepest) fail(place, "references follow one another without end");
    const Json* target = of.is_object() ? of.find("$ref") : nullptr;
    if (target == nullptr) return of;
    const Json& found = target_of(target->as_string(place + "/$ref"), place);
    return merge_schemas(without(of, {"$ref"}), followed(found, place, depth + 1), place);
  }

  Json merged(const Json& of, const std::string& place, int depth) const {
    Json all = without(of, {"allOf"});
    int number = 0;
    for (const Json& part : of.get("allOf").items()) {
      const std::string here = place + "/allOf/" + std::to_string(number++);
      Json next = followed(part, here, depth);
      if (next.is_object() && next.has("allOf")) {
        if (depth > kDeepest) fail(here, "nested too deep");
        next = merged(next, here, depth + 1);
      }
      all = merge_schemas(all, next, here);
    }
    return all;
  }

  Expression branches(const Json& of, const char* key, const std::string& place, int depth) {
    const std::vector<Json>& list = of.get(key).items();
    if (list.empty()) fail(place, std::string(key) + " has no branches");
    if (std::string_view(key) == "oneOf") check_apart(list, place, depth);
    const Json rest = without(of, {key});
    const bool alone = says_nothing(rest);
    std::vector<Expression> ways;
    for (std::size_t i = 0; i < list.size(); ++i) {
      const std::string here = place + "/" + key + "/" + std::to_string(i);
      if (alone) {
        ways.push_back(schema(list[i], here, depth + 1));
      } else {
        ways.push_back(
            schema(merge_schemas(rest, followed(list[i], here, depth), here), here, depth + 1));
      }
    }
    return grammar_.choice(std::move(ways));
  }

  /// Raises unless no value fits two branches of a oneOf: by their types, or by a member that each
  /// requires and for which each has other constants.
  void check_apart(const std::vector<Json>& list, const std::string& place, int depth) const {
    for (std::size_t i = 0; i < list.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        const std::string here = place + "/oneOf";
        if (never_both(followed(list[j], here, depth), followed(list[i], here, depth), place))
          continue;
        refuse(place,
               "a value may fit branches " + std::to_string(j) + " and " + std::to_string(i) +
                   " of oneOf",
               "anyOf takes a value that fits several");
      }
    }
  }

  // ---------------------------------------------------------------- types

  Expression literals(const Json& of, const std::string& place) {
    for (const auto& [key, value] : of.members()) {
      if (is_silent_keyword(key) || key == "enum" || key == "const" || key == "type") continue;
      refuse(place, "keyword " + key + " beside enum or const is not supported");
    }
    std::vector<Json> values;
    if (const Json* only = of.find("const")) values = {*only};
    if (const Json* some = of.find("enum")) {
      if (values.empty()) {
        values = some->items();
      } else if (std::find(some->items().begin(), some->items().end(), values[0]) ==
                 some->items().end()) {
        values.clear();
      }
    }
    std::vector<std::string> texts;
    const std::vector<std::string> types =
        of.has("type") ? types_of(of, place) : std::vector<std::string>{};
    for (const Json& value : values) {
      const bool fits = !of.has("type") ||
                        std::any_of(types.begin(), types.end(),
                                    [&](const std::string& type) { return is_type(value, type); });
      if (fits) texts.push_back(write_json(value));
    }
    if (texts.empty()) fail(place, "no value of enum or const is of the type");
    return grammar_.texts(std::move(texts));
  }

  Expression typed(const Json& of, const std::string& type, const std::string& place, int depth) {
    if (type == "object") return object(of, place, depth);
    if (type == "array") return array(of, place, depth);
    if (type == "string") return string(of, place);
    if (type == "number") return text_.number(bounds_of(of, place, false));
    if (type == "integer") return text_.integer(bounds_of(of, place, true));
    if (type == "boolean") return grammar_.choice({grammar_.text("true"), grammar_.text("false")});
    return grammar_.text("null");
  }

  // ---------------------------------------------------------------- strings and numbers

  std::int64_t count(const Json& of, const char* key, std::int64_t fallback,
                     const std::string& place) const {
    const Json* value = of.find(key);
    if (value == nullptr) return fallback;
    const double number = value->as_number(place + "/" + key);
    if (!(number >= 0) || number != std::floor(number) || number > 1e6) {
      fail(place, std::string(key) + " is a whole number from 0 to 1000000");
    }
    return static_cast<std::int64_t>(number);
  }

  Expression string(const Json& of, const std::string& place) {
    const std::int64_t least = count(of, "minLength", 0, place);
    const std::int64_t most = count(of, "maxLength", Grammar::kNoEnd, place);
    const Json *pattern = of.find("pattern"), *format = of.find("format");
    if (most != Grammar::kNoEnd && most < least) fail(place, "minLength is above maxLength");
    const bool known = format != nullptr && is_known_format(format->as_string(place));
    if (format != nullptr && !known && format->as_string(place) != "password") {
      refuse(place, "format " + format->as_string(place) + " is not supported",
             "write it as a pattern");
    }
    if (pattern == nullptr && !known) return text_.string_of(least, most);
    if (least > 0 || most != Grammar::kNoEnd || (pattern != nullptr && known)) {
      refuse(place, "only one of pattern, format and a length is supported",
             "say the length in the pattern: ^[a-z]{2,5}$");
    }
    if (known) return text_.string_like(pattern_of_format(format->as_string()), true);
    return at(place, [&] { return text_.string_like(pattern->as_string(place), false); });
  }

  /// Names the place in what a part's own reader raises.
  template <class Read>
  Expression at(const std::string& place, Read read) const {
    try {
      return read();
    } catch (Error& error) {
      error.where("in " + place + "/pattern");
      throw;
    }
  }

  void bound(const Json& of, const char* key, bool whole, bool low, const std::string& place,
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
    const double rounded = low ? std::ceil(number) : std::floor(number);
    if (!(std::abs(number) < 9e15)) fail(place, std::string(key) + " is too large");
    if (rounded != number && !whole) {
      refuse(place, std::string(key) + " is supported for whole numbers only");
    }
    auto& limit = low ? bounds.least : bounds.most;
    const auto bounded = static_cast<std::int64_t>(rounded);
    const bool excluded = exclusive && rounded == number;
    if (!limit || (low ? bounded > *limit : bounded < *limit)) {
      limit = bounded;
      (low ? bounds.above_least : bounds.below_most) = excluded;
    } else if (bounded == *limit && excluded) {
      (low ? bounds.above_least : bounds.below_most) = true;
    }
  }

  NumberBounds bounds_of(const Json& of, const std::string& place, bool whole) const {
    NumberBounds bounds;
    bound(of, "minimum", whole, true, place, bounds);
    bound(of, "exclusiveMinimum", whole, true, place, bounds);
    bound(of, "maximum", whole, false, place, bounds);
    bound(of, "exclusiveMaximum", whole, false, place, bounds);
    return bounds;
  }

  // ---------------------------------------------------------------- arrays

  Expression array(const Json& of, const std::string& place, int depth) {
    const Json* items = of.find("items");
    const Json* prefix = of.find("prefixItems");
    const Json* rest = items;
    if (items != nullptr && items->is_array()) {  // draft 7
      prefix = items;
      rest = of.find("additionalItems");
    }
    static const std::vector<Json> kNone;
    const std::vector<Json>& first = prefix != nullptr ? prefix->items() : kNone;
    const auto fixed = static_cast<std::int64_t>(first.size());
    const std::int64_t least = count(of, "minItems", 0, place);
    std::int64_t most = count(of, "maxItems", Grammar::kNoEnd, place);
    const bool closed = (rest == nullptr && prefix != nullptr) ||
                        (rest != nullptr && rest->is_boolean() && !rest->as_boolean());
    if (closed) most = most == Grammar::kNoEnd ? fixed : std::min(most, fixed);
    if (most != Grammar::kNoEnd && most < least) fail(place, "minItems is above maxItems");
    if (most == 0) return text_.enclosed("[", grammar_.nothing(), "]", true);
    const auto item = [&](std::int64_t i) {
      if (i < fixed) {
        return schema(first[static_cast<std::size_t>(i)],
                      place + "/prefixItems/" + std::to_string(i), depth + 1);
      }
      return rest == nullptr ? text_.value() : schema(*rest, place + "/items", depth + 1);
    };
    // From the last: what follows item i, and whether it may be left out.
    Expression tail = grammar_.text("");
    if (most == Grammar::kNoEnd || most > fixed) {
      const Expression more = as_rule(item(fixed), place + "/items");
      const std::int64_t taken = std::max<std::int64_t>(fixed, 1);
      const std::int64_t still = std::max<std::int64_t>(0, least - taken);
      tail = grammar_.repeat(grammar_.sequence({text_.comma(), more}), still,
                             most == Grammar::kNoEnd ? Grammar::kNoEnd : most - taken);
      if (fixed == 0) {
        return text_.enclosed("[", grammar_.sequence({more, tail}), "]", least == 0);
      }
    }
    const std::int64_t last = most == Grammar::kNoEnd ? fixed : std::min(most, fixed);
    for (std::int64_t i = last - 1; i > 0; --i) {
      const Expression more = grammar_.sequence({text_.comma(), item(i), tail});
      tail = as_rule(i >= least ? grammar_.optional(more) : more, place);
    }
    return text_.enclosed("[", grammar_.sequence({item(0), tail}), "]", least == 0);
  }

  Expression as_rule(Expression body, const std::string& name) {
    const Grammar::Rule rule = grammar_.add_rule(name);
    grammar_.define(rule, body);
    return grammar_.call(rule);
  }

  // ---------------------------------------------------------------- objects

  struct Member {
    Expression text;  // "name": value
    bool required;
  };

  Expression object(const Json& of, const std::string& place, int depth) {
    const Json* properties = of.find("properties");
    const Json* additional = of.find("additionalProperties");
    const Json* required = of.find("required");
    std::vector<std::string> names, needed;
    if (required != nullptr && required->is_array()) needed = of.strings("required");
    std::vector<Member> members;
    const auto add = [&](const std::string& name, Expression value) {
      names.push_back(name);
      const bool must = std::find(needed.begin(), needed.end(), name) != needed.end();
      members.push_back({as_rule(grammar_.sequence({grammar_.text(write_json(Json(name)) + ":"),
                                                    text_.space(), value}),
                                 place + "/properties/" + name),
                         must});
    };
    if (properties != nullptr) {
      for (const auto& [name, one] : properties->members()) {
        add(name, schema(one, place + "/properties/" + name, depth + 1));
      }
    }
    const bool open = additional != nullptr
                          ? !(additional->is_boolean() && !additional->as_boolean())
                          : properties == nullptr;
    const auto other = [&] {
      return additional == nullptr || additional->is_boolean()
                 ? text_.value()
                 : as_rule(schema(*additional, place + "/additionalProperties", depth + 1),
                           place + "/additionalProperties");
    };
    for (const std::string& name : needed) {
      if (std::find(names.begin(), names.end(), name) != names.end()) continue;
      if (!open) fail(place, "required names \"" + name + "\", which additionalProperties forbids");
      add(name, other());
    }
    if (!open) return listed(members, -1, place);
    const Expression more = as_rule(
        grammar_.sequence({text_.string_beside(names), grammar_.text(":"), text_.space(), other()}),
        place + "/additionalProperties");
    return listed(members, more, place);
  }

  /// Members in their order, those that need not be there left out at will; then `more` of others,
  /// unless that is below 0. From the last to the first: what may follow where a member stands
  /// before, and where none does.
  Expression listed(const std::vector<Member>& members, Expression more, const std::string& place) {
    Expression after = grammar_.text(""), alone = grammar_.nothing();
    if (more >= 0) {
      after = as_rule(grammar_.repeat(grammar_.sequence({text_.comma(), more}), 0, Grammar::kNoEnd),
                      place);
      alone = as_rule(grammar_.sequence({more, after}), place);
    }
    bool may_be_empty = true;
    for (std::size_t i = members.size(); i-- > 0;) {
      const Expression next = grammar_.sequence({text_.comma(), members[i].text, after});
      const Expression first = grammar_.sequence({members[i].text, after});
      const bool must = members[i].required;
      may_be_empty = may_be_empty && !must;
      alone = as_rule(must ? first : grammar_.choice({first, alone}), place);
      after = as_rule(must ? next : grammar_.choice({next, after}), place);
    }
    return text_.enclosed("{", alone, "}", may_be_empty);
  }

  Json root_;
  Grammar grammar_;
  JsonText text_;
  std::map<std::string, Grammar::Rule> references_;
  std::size_t schemas_ = 0;
};

}  // namespace

Grammar json_schema_grammar(std::string_view schema, JsonSpace space) {
  JsonLimits limits;
  limits.max_bytes = std::size_t{4} << 20;
  limits.max_values = kMostSchemas * 10;
  return SchemaReader(parse_json(schema, "json_schema", limits), space).read();
}

}  // namespace perilune
