// Two schemas as one.
#include <algorithm>
#include <numeric>

#include "engine/base/error.h"
#include "engine/constrain/json_schema.h"
#include "engine/constrain/json_schema_rewrite.h"

namespace perilune {

namespace {

[[noreturn]] void refuse(const std::string& place, const std::string& key) {
  throw Error(ErrorCode::unsupported, "json_schema",
              place + ": two different " + key + " cannot be put together")
      .hint("write one schema that says both");
}

bool closed(const Json& schema) {
  const Json* more = schema.find("additionalProperties");
  return more != nullptr && more->is_boolean() && !more->as_boolean();
}

/// Whether `schema` names members that `other` does not.
bool names_more(const Json& schema, const Json& other) {
  const Json* own = schema.find("properties");
  const Json* others = other.find("properties");
  if (own == nullptr) return false;
  return std::any_of(own->members().begin(), own->members().end(), [&](const auto& member) {
    if (member.second == Json(false)) return false;  // it says that there is none
    return others == nullptr || !others->has(member.first);
  });
}

Json list(const Json& value) {
  return value.is_array() ? value : Json::array().push(value);
}

bool holds(const Json& list, const Json& value) {
  const auto& items = list.items();
  return std::find(items.begin(), items.end(), value) != items.end();
}

Json common(const Json& a, const Json& b) {
  Json both = Json::array();
  for (const Json& one : a.items()) {
    if (holds(b, one)) both.push(one);
  }
  return both;
}

/// "integer" is a "number".
Json common_types(const Json& a, const Json& b) {
  Json both = common(list(a), list(b));
  for (const auto& [one, other] : {std::pair(list(a), list(b)), std::pair(list(b), list(a))}) {
    if (holds(one, "integer") && holds(other, "number") && !holds(both, "integer") &&
        !holds(both, "number")) {
      both.push("integer");
    }
  }
  return both;
}

Json merge_members(const Json& a, const Json& b, const std::string& place) {
  Json merged = a;
  for (const auto& [name, schema] : b.members()) {
    const Json* known = merged.find(name);
    merged.set(name, known ? merge_schemas(*known, schema, below(place, name)) : schema);
  }
  return merged;
}

/// What fits one of each.
Json every_pair(const Json& a, const Json& b, const std::string& place) {
  constexpr std::size_t kMostPairs = 256;
  if (a.items().size() * b.items().size() > kMostPairs) {
    throw Error(ErrorCode::length, "json_schema",
                place + ": more than " + std::to_string(kMostPairs) + " ways together");
  }
  Json pairs = Json::array();
  for (const Json& one : a.items()) {
    for (const Json& other : b.items()) {
      pairs.push(Json::object().set("allOf", Json::array().push(one).push(other)));
    }
  }
  return pairs;
}

Json merge_key(const std::string& key, const Json& a, const Json& b, const std::string& place) {
  const auto one_of = [&](std::initializer_list<const char*> names) {
    return std::find(names.begin(), names.end(), key) != names.end();
  };
  if (a == b) return a;
  const std::string here = place + "/" + key;
  if (one_of({"minLength", "minItems", "minimum", "exclusiveMinimum", "minProperties",
              "minContains"})) {
    return a.as_number(here) < b.as_number(here) ? b : a;
  }
  if (one_of({"maxLength", "maxItems", "maximum", "exclusiveMaximum", "maxProperties",
              "maxContains"})) {
    return a.as_number(here) < b.as_number(here) ? a : b;
  }
  if (key == "type") return common_types(a, b);
  if (key == "enum") return common(a, b);
  if (key == "required") {
    Json all = a;
    for (const Json& name : b.items()) {
      if (!holds(all, name)) all.push(name);
    }
    return all;
  }
  if (one_of({"properties", "patternProperties", "$defs", "definitions"})) {
    return merge_members(a, b, here);
  }
  if (one_of({"items", "additionalProperties", "unevaluatedProperties", "unevaluatedItems",
              "propertyNames"})) {
    return merge_schemas(a, b, here);
  }
  if (key == "uniqueItems") return a.as_boolean(here) || b.as_boolean(here);
  if (key == "anyOf") return every_pair(a, b, here);
  if (key == "allOf") {
    Json all = a;
    for (const Json& one : b.items()) all.push(one);
    return all;
  }
  if (key == "not" && is_plain_not(a) && is_plain_not(b)) return joined_nots(a, b);
  if (key == "multipleOf" && a.is_integer() && b.is_integer() && a.as_integer() > 0 &&
      b.as_integer() > 0) {
    return std::lcm(a.as_integer(), b.as_integer());
  }
  if (one_of({"title", "description", "default", "examples", "$comment", "$id", "$schema",
              "$anchor", "$dynamicAnchor"})) {
    return a;
  }
  refuse(place, key);
}

}  // namespace

Json merge_schemas(const Json& a, const Json& b, const std::string& place) {
  if (a.is_boolean()) return a.as_boolean() ? b : a;
  if (b.is_boolean()) return b.as_boolean() ? a : b;
  if (!a.is_object() || !b.is_object()) {
    throw Error(ErrorCode::argument, "json_schema", place + ": a schema is an object or a boolean");
  }
  if ((closed(a) && names_more(b, a)) || (closed(b) && names_more(a, b))) {
    refuse(place, "additionalProperties");
  }
  Json merged = a;
  for (const auto& [key, value] : b.members()) {
    const Json* known = merged.find(key);
    if (key == "const" && known != nullptr && !(*known == value)) {
      merged.set("enum", Json::array());  // nothing is both
      continue;
    }
    merged.set(key, known ? merge_key(key, Json(*known), value, place) : value);
  }
  return merged;
}

}  // namespace perilune
