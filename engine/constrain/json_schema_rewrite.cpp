#include "engine/constrain/json_schema_rewrite.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/constrain/json_schema_keywords.h"
#include "engine/constrain/regex.h"
#include "engine/constrain/text_classes.h"

namespace perilune {

namespace {

using Schemas = std::vector<Json>;

Json with(std::initializer_list<std::pair<const char*, Json>> members) {
  Json made = Json::object();
  for (const auto& [key, value] : members) made.set(key, value);
  return made;
}

Json list_of(const Schemas& items) {
  Json list = Json::array();
  for (const Json& one : items) list.push(one);
  return list;
}

/// A schema that one of `ways` fits.
Json one_of(const Schemas& ways) {
  if (ways.empty()) return false;
  return ways.size() == 1 ? ways[0] : with({{"anyOf", list_of(ways)}});
}

Json other_types(const Json& type) {
  const Schemas given = type.is_array() ? type.items() : Schemas{type};
  const auto has = [&](const char* name) {
    return std::find(given.begin(), given.end(), Json(name)) != given.end();
  };
  Json rest = Json::array();
  for (const char* name : {"object", "array", "string", "boolean", "null"}) {
    if (!has(name)) rest.push(name);
  }
  if (!has("number") && !has("integer")) rest.push("number");
  return rest;
}

/// Counts and bounds: keyword -> the type it speaks of, the one that says the opposite, and what
/// lies between.
struct Opposite {
  const char *key, *type, *other;
  int apart;  // of counts; 0: a bound
};
constexpr Opposite kOpposites[] = {
    {"minLength", "string", "maxLength", -1},
    {"maxLength", "string", "minLength", 1},
    {"minItems", "array", "maxItems", -1},
    {"maxItems", "array", "minItems", 1},
    {"minProperties", "object", "maxProperties", -1},
    {"maxProperties", "object", "minProperties", 1},
    {"minimum", "number", "exclusiveMaximum", 0},
    {"maximum", "number", "exclusiveMinimum", 0},
    {"exclusiveMinimum", "number", "maximum", 0},
    {"exclusiveMaximum", "number", "minimum", 0},
};

/// Appends what does not fit one keyword. False: that cannot be said.
bool negate_keyword(const std::string& key, const Json& value, Schemas& ways, std::string& why) {
  for (const Opposite& known : kOpposites) {
    if (key != known.key || !value.is_number()) continue;
    if (known.apart == 0) {
      ways.push_back(with({{"type", known.type}, {known.other, value}}));
    } else if (value.as_number() + known.apart >= 0) {
      ways.push_back(with({{"type", known.type},
                           {known.other, static_cast<std::int64_t>(value.as_number()) +
                                             std::int64_t{known.apart}}}));
    }
    return true;
  }
  if (key == "type") {
    ways.push_back(with({{"type", other_types(value)}}));
  } else if (key == "const" || key == "enum") {
    ways.push_back(with({{"not", with({{key.c_str(), value}})}}));
  } else if (key == "pattern") {
    ways.push_back(with({{"type", "string"}, {"not", with({{"pattern", value}})}}));
  } else if (key == "required") {
    for (const Json& name : value.items()) {
      ways.push_back(
          with({{"type", "object"}, {"properties", with({{name.as_string().c_str(), false}})}}));
    }
  } else if (key == "properties") {
    for (const auto& [name, one] : value.members()) {
      const auto parts = negated(one, why);
      if (!parts) return false;
      for (const Json& part : *parts) {
        ways.push_back(with({{"type", "object"},
                             {"required", Json::array().push(name)},
                             {"properties", with({{name.c_str(), part}})}}));
      }
    }
  } else if (key == "anyOf") {
    Schemas all;
    for (const Json& one : value.items()) {
      const auto parts = negated(one, why);
      if (!parts) return false;
      all.push_back(one_of(*parts));
    }
    ways.push_back(with({{"allOf", list_of(all)}}));
  } else if (key == "allOf") {
    for (const Json& one : value.items()) {
      const auto parts = negated(one, why);
      if (!parts) return false;
      ways.insert(ways.end(), parts->begin(), parts->end());
    }
  } else if (key == "not") {
    ways.push_back(value);
  } else {
    why = key;
    return false;
  }
  return true;
}

bool is_pure(const Json& of) {
  if (!of.is_object()) return false;
  return of.size() == 1 && (of.has("enum") || of.has("const") || of.has("pattern"));
}

Schemas parts_of_not(const Json& of) {
  return of.has("anyOf") ? of.get("anyOf").items() : Schemas{of};
}

[[noreturn]] void refuse(const std::string& place, const std::string& keyword,
                         const std::string& why) {
  throw Error(ErrorCode::unsupported, "json_schema",
              place + ": keyword " + keyword + " of a schema with " + why + " is not supported");
}

Schemas negated_or_refused(const Json& of, const std::string& place, const std::string& keyword) {
  std::string why;
  const auto ways = negated(of, why);
  if (!ways) refuse(place, keyword, why);
  return *ways;
}

/// What depends on a member: it is not there, or the rest holds.
Json depends(const std::string& name, Json rest) {
  const Json absent = with({{"properties", with({{name.c_str(), false}})}});
  return with({{"anyOf", list_of({absent, std::move(rest)})}});
}

}  // namespace

std::optional<Schemas> negated(const Json& of, std::string& why) {
  if (of.is_boolean()) return of.as_boolean() ? Schemas{} : Schemas{Json(true)};
  if (!of.is_object()) return std::nullopt;
  Schemas ways;
  for (const auto& [key, value] : of.members()) {
    if (is_silent_keyword(key)) continue;
    if (!negate_keyword(key, value, ways, why)) return std::nullopt;
  }
  return ways;
}

bool is_plain_not(const Json& of) {
  if (is_pure(of)) return true;
  if (!of.is_object() || of.size() != 1 || !of.has("anyOf")) return false;
  const Schemas& parts = of.get("anyOf").items();
  return std::all_of(parts.begin(), parts.end(), is_pure);
}

Json joined_nots(const Json& a, const Json& b) {
  Schemas all = parts_of_not(a);
  const Schemas more = parts_of_not(b);
  all.insert(all.end(), more.begin(), more.end());
  return with({{"anyOf", list_of(all)}});
}

Exclusions exclusions_of(const Json& schema) {
  Exclusions found;
  const Json* none = schema.find("not");
  if (none == nullptr) return found;
  for (const Json& part : parts_of_not(*none)) {
    if (const Json* one = part.find("const")) found.values.push_back(*one);
    if (const Json* some = part.find("enum")) {
      found.values.insert(found.values.end(), some->items().begin(), some->items().end());
    }
    if (const Json* pattern = part.find("pattern")) found.patterns.push_back(pattern->as_string());
  }
  return found;
}

bool is_excluded(const Json& schema, const Json& value) {
  const Exclusions none = exclusions_of(schema);
  if (std::find(none.values.begin(), none.values.end(), value) != none.values.end()) return true;
  if (!value.is_string()) return false;
  return std::any_of(none.patterns.begin(), none.patterns.end(), [&](const std::string& pattern) {
    return TextClasses({regex_grammar(pattern, false)}).matches(value.as_string()) != 0;
  });
}

bool needs_rewriting(const Json& of) {
  if (!of.is_object()) return false;
  const Json* none = of.find("not");
  if (none != nullptr && !is_plain_not(*none)) return true;
  for (const char* key :
       {"if", "then", "else", "dependentRequired", "dependentSchemas", "dependencies"}) {
    if (of.has(key)) return true;
  }
  return false;
}

Json rewrite_keywords(const Json& of, const std::string& place) {
  Json rest = Json::object();
  Schemas more;
  for (const auto& [key, value] : of.members()) {
    const bool depending =
        key == "dependentRequired" || key == "dependentSchemas" || key == "dependencies";
    if (key == "not" && !is_plain_not(value)) {
      more.push_back(one_of(negated_or_refused(value, place, "not")));
    } else if (key == "if") {
      const Json *then = of.find("then"), *otherwise = of.find("else");
      Schemas ways{then != nullptr ? with({{"allOf", list_of({value, *then})}}) : value};
      for (const Json& way : negated_or_refused(value, place, "if")) {
        ways.push_back(otherwise != nullptr ? with({{"allOf", list_of({way, *otherwise})}}) : way);
      }
      more.push_back(one_of(ways));
    } else if (key == "then" || key == "else") {
      continue;  // of the if; without one they say nothing
    } else if (depending) {
      for (const auto& [name, what] : value.members()) {
        Json needed = Json::array().push(name);
        for (const Json& one : what.is_array() ? what.items() : Schemas{}) needed.push(one);
        Json holds = with({{"required", needed}});
        if (!what.is_array()) holds = with({{"allOf", list_of({holds, what})}});
        more.push_back(depends(name, holds));
      }
    } else {
      rest.set(key, value);
    }
  }
  if (more.empty()) return rest;
  Json all = Json::array();
  if (const Json* given = of.find("allOf")) {
    for (const Json& one : given->items()) all.push(one);
  }
  for (Json& one : more) all.push(std::move(one));
  rest.set("allOf", all);
  return rest;
}

std::string below(const std::string& place, const std::string& key) {
  return place + "/" + key;
}

}  // namespace perilune
