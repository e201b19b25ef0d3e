#include "engine/constrain/json_schema_keywords.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "engine/base/error.h"

namespace perilune {

namespace {

const std::vector<std::string> kTypes = {"object",  "array",   "string", "number",
                                         "integer", "boolean", "null"};

/// Keywords that change no text.
const std::vector<std::string> kSilent = {
    "title",           "description",   "default",     "examples",         "example",
    "$schema",         "$id",           "$comment",    "deprecated",       "readOnly",
    "writeOnly",       "$defs",         "definitions", "contentMediaType", "discriminator",
    "contentEncoding", "contentSchema", "$anchor",     "$dynamicAnchor"};

/// Keyword -> the types it speaks of ("" for all).
const std::map<std::string, const char*> kKeywords = {{"type", ""},
                                                      {"enum", ""},
                                                      {"const", ""},
                                                      {"anyOf", ""},
                                                      {"oneOf", ""},
                                                      {"allOf", ""},
                                                      {"$ref", ""},
                                                      {"$dynamicRef", ""},
                                                      {"nullable", ""},
                                                      {"properties", "object"},
                                                      {"required", "object"},
                                                      {"additionalProperties", "object"},
                                                      {"items", "array"},
                                                      {"prefixItems", "array"},
                                                      {"additionalItems", "array"},
                                                      {"minItems", "array"},
                                                      {"maxItems", "array"},
                                                      {"minLength", "string"},
                                                      {"maxLength", "string"},
                                                      {"pattern", "string"},
                                                      {"format", "string"},
                                                      {"minimum", "number"},
                                                      {"maximum", "number"},
                                                      {"exclusiveMinimum", "number"},
                                                      {"exclusiveMaximum", "number"},
                                                      {"multipleOf", "number"},
                                                      {"not", ""},
                                                      {"if", ""},
                                                      {"then", ""},
                                                      {"else", ""},
                                                      {"dependentRequired", "object"},
                                                      {"dependentSchemas", "object"},
                                                      {"dependencies", "object"},
                                                      {"patternProperties", "object"},
                                                      {"propertyNames", "object"},
                                                      {"minProperties", "object"},
                                                      {"maxProperties", "object"},
                                                      {"unevaluatedProperties", "object"},
                                                      {"contains", "array"},
                                                      {"minContains", "array"},
                                                      {"maxContains", "array"},
                                                      {"uniqueItems", "array"},
                                                      {"unevaluatedItems", "array"}};

/// Texts that every reader of the format takes; some formats allow more.
const std::map<std::string, const char*> kFormats = {
    {"date", "D"},
    {"time", "T"},
    {"date-time", "DtT"},
    {"duration", "P(\\d{1,6}[YMWD]|(\\d{1,6}D)?T\\d{1,6}[HMS])"},
    {"email",
     "[A-Za-z0-9_+-]+(\\.[A-Za-z0-9_+-]+)*@[A-Za-z0-9]+(-[A-Za-z0-9]+)*(\\.[A-Za-z0-9]+(-[A-Za-z0-"
     "9]+)*)+"},
    {"hostname",
     "[A-Za-z0-9]{1,30}(-[A-Za-z0-9]{1,30})?(\\.[A-Za-z0-9]{1,30}(-[A-Za-z0-9]{1,30})?){0,3}"},
    {"uuid", "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"},
    {"ipv4", "((25[0-5]|(2[0-4]|1\\d|[1-9])?\\d)\\.){3}(25[0-5]|(2[0-4]|1\\d|[1-9])?\\d)"},
    {"ipv6", "([0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}|::1"},
    {"uri",
     "[a-z][a-z0-9+.-]*://[A-Za-z0-9]+([.-][A-Za-z0-9]+)*(:[1-9]\\d{0,3})?(/"
     "[A-Za-z0-9._~!$&'()*+,;=:@-]*)*"
     "(\\?[A-Za-z0-9._~!$&'()*+,;=:@/?-]*)?(#[A-Za-z0-9._~!$&'()*+,;=:@/?-]*)?"}};

std::vector<Json> constants(const Json& of) {
  if (!of.is_object()) return {};
  if (const Json* only = of.find("const")) return {*only};
  if (const Json* some = of.find("enum")) return some->items();
  return {};
}

bool requires_member(const Json& of, const std::string& name) {
  const Json* list = of.find("required");
  if (list == nullptr) return false;
  const auto& names = list->items();
  return std::find(names.begin(), names.end(), Json(name)) != names.end();
}

/// What `type` says; without one every type.
std::vector<std::string> declared_types(const Json& of, const std::string& place) {
  return of.has("type") ? types_of(of, place) : kTypes;
}

[[noreturn]] void refuse_type(const std::string& type, const std::string& place) {
  throw Error(ErrorCode::argument, "json_schema", place + ": there is no type \"" + type + "\"")
      .hint(did_you_mean(type, kTypes));
}

}  // namespace

std::string pattern_of_format(const std::string& format) {
  std::string date =
      "[12]\\d{3}-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|"
      "02-(0[1-9]|1\\d|2[0-8]))";
  std::string time =
      "([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,6})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)";
  if (format == "date") return date;
  if (format == "time") return time;
  if (format == "date-time") return date + "T" + time;
  return kFormats.at(format);
}

bool is_known_format(const std::string& format) {
  return kFormats.count(format) != 0;
}

bool is_keyword(const std::string& key) {
  return kKeywords.count(key) != 0;
}

std::string near_keyword(const std::string& key) {
  std::vector<std::string> known;
  for (const auto& [name, _] : kKeywords) known.push_back(name);
  return did_you_mean(key, known);
}

bool is_silent_keyword(const std::string& key) {
  return key.rfind("x-", 0) == 0 || std::find(kSilent.begin(), kSilent.end(), key) != kSilent.end();
}

/// What `type` says, or what the keywords speak of, or everything.
std::vector<std::string> types_of(const Json& of, const std::string& place) {
  std::vector<std::string> types;
  if (const Json* type = of.find("type")) {
    if (type->is_string()) types = {type->as_string()};
    if (type->is_array()) types = of.strings("type");
    for (const std::string& one : types) {
      if (std::find(kTypes.begin(), kTypes.end(), one) == kTypes.end()) {
        refuse_type(one, place);
      }
    }
    if (!type->is_string() && !type->is_array())
      throw Error(ErrorCode::argument, "json_schema",
                  place + ": type is a text or a list of texts");
    return types;
  }
  for (const auto& [key, value] : of.members()) {
    const auto known = kKeywords.find(key);
    if (known == kKeywords.end() || known->second[0] == '\0') continue;
    if (std::find(types.begin(), types.end(), known->second) == types.end()) {
      types.emplace_back(known->second);
    }
  }
  if (types.empty()) types = {"object", "array", "string", "number", "boolean", "null"};
  return types;
}

bool is_type(const Json& value, const std::string& type) {
  switch (value.kind()) {
    case Json::Kind::null: return type == "null";
    case Json::Kind::boolean: return type == "boolean";
    case Json::Kind::integer: return type == "integer" || type == "number";
    case Json::Kind::number:
      return type == "number" ||
             (type == "integer" && value.as_number() == std::floor(value.as_number()));
    case Json::Kind::string: return type == "string";
    case Json::Kind::array: return type == "array";
    case Json::Kind::object: return type == "object";
  }
  return false;
}

bool is_bound(const std::string& key) {
  return key == "minimum" || key == "maximum" || key == "exclusiveMinimum" ||
         key == "exclusiveMaximum";
}

bool is_within(const Json& schema, const Json& value) {
  if (!value.is_number()) return true;
  const double number = value.as_number();
  const auto bound = [&](const char* key) {
    const Json* found = schema.find(key);
    return found != nullptr && found->is_number() ? found->as_number() : std::nan("");
  };  // a comparison with none is false
  return !(number < bound("minimum")) && !(number > bound("maximum")) &&
         !(number <= bound("exclusiveMinimum")) && !(number >= bound("exclusiveMaximum"));
}

bool never_both(const Json& a, const Json& b, const std::string& place) {
  const std::vector<Json> these = constants(a), those = constants(b);
  if (!these.empty() && !those.empty()) {
    return std::none_of(these.begin(), these.end(), [&](const Json& one) {
      return std::find(those.begin(), those.end(), one) != those.end();
    });
  }
  if (!a.is_object() || !b.is_object()) return false;
  const auto touches = [](const std::string& one, const std::string& other) {
    return one == other || (one == "integer" && other == "number") ||
           (one == "number" && other == "integer");
  };
  bool same_type = false;
  for (const std::string& one : declared_types(a, place)) {
    for (const std::string& other : declared_types(b, place)) {
      same_type = same_type || touches(one, other);
    }
  }
  if (!same_type) return true;
  const Json *own = a.find("properties"), *others = b.find("properties");
  if (own == nullptr || others == nullptr) return false;
  return std::any_of(own->members().begin(), own->members().end(), [&](const auto& member) {
    const Json* other = others->find(member.first);
    if (other == nullptr || !requires_member(a, member.first)) return false;
    return requires_member(b, member.first) && !constants(member.second).empty() &&
           !constants(*other).empty() && never_both(member.second, *other, place);
  });
}

}  // namespace perilune
