#include "engine/constrain/json_schema.h"

#include <algorithm>

#include "engine/constrain/json_schema_keywords.h"
#include "engine/constrain/json_schema_reader.h"
#include "engine/constrain/json_schema_rewrite.h"

namespace perilune {

namespace {

constexpr int kDeepest = 200;  // schemas inside schemas, references followed

/// A schema without a keyword or some of them.
Json without(const Json& of, const std::vector<std::string>& keys) {
  Json rest = Json::object();
  for (const auto& [key, value] : of.members()) {
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) rest.set(key, value);
  }
  return rest;
}
bool says_nothing(const Json& of) {
  return std::all_of(of.members().begin(), of.members().end(),
                     [](const auto& member) { return is_silent_keyword(member.first); });
}

/// What a schema refers to.
const Json* target_in(const Json& of) {
  const Json* target = of.find("$ref");
  return target != nullptr ? target : of.find("$dynamicRef");
}

/// The schema of this name inside another; null: there is none.
const Json* anchor_in(const Json& of, const std::string& name) {
  if (of.is_array()) {
    for (const Json& one : of.items()) {
      if (const Json* found = anchor_in(one, name)) return found;
    }
  }
  if (!of.is_object()) return nullptr;
  for (const char* key : {"$anchor", "$dynamicAnchor"}) {
    const Json* own = of.find(key);
    if (own != nullptr && *own == Json(name)) return &of;
  }
  for (const auto& [key, value] : of.members()) {
    if (const Json* found = anchor_in(value, name)) return found;
  }
  return nullptr;
}

/// Whether a schema inside this one is a resource of its own, whose anchors hide the outer ones.
bool holds_resources(const Json& of, bool inner = false) {
  if (of.is_array()) {
    return std::any_of(of.items().begin(), of.items().end(),
                       [](const Json& one) { return holds_resources(one, true); });
  }
  if (!of.is_object()) return false;
  const Json* id = of.find("$id");
  if (inner && id != nullptr && id->is_string()) return true;
  return std::any_of(of.members().begin(), of.members().end(),
                     [](const auto& member) { return holds_resources(member.second, true); });
}

/// A step of a JSON pointer without its escapes.
std::string plain(std::string step) {
  for (const auto& [escape, meant] : {std::pair("~1", "/"), std::pair("~0", "~")}) {
    for (std::size_t at = step.find(escape); at != std::string::npos;
         at = step.find(escape, at + 1)) {
      step.replace(at, 2, meant);
    }
  }
  return step;
}

}  // namespace

Grammar SchemaReader::read() {
  const Grammar::Rule root = grammar_.add_rule("#");
  references_.emplace("#", root);
  grammar_.define(root, schema(root_, "#", 0));
  return std::move(grammar_);
}

SchemaReader::Expression SchemaReader::as_rule(Expression body, const std::string& name) {
  if (grammar_.node(body).kind == Grammar::Kind::nothing) return body;
  const Grammar::Rule rule = grammar_.add_rule(name);
  grammar_.define(rule, body);
  return grammar_.call(rule);
}

SchemaReader::Expression SchemaReader::schema(const Json& of, const std::string& place, int depth) {
  if (depth > kDeepest || ++schemas_ > kMostSchemas) {
    throw Error(ErrorCode::length, "json_schema",
                place + ": nested more than " + std::to_string(kDeepest) +
                    " levels deep, or more than " + std::to_string(kMostSchemas) + " schemas");
  }
  if (of.is_boolean()) return of.as_boolean() ? text_.value() : grammar_.nothing();
  if (!of.is_object()) fail(place, "a schema is an object or a boolean");
  check_keywords(of, place);
  if (const Json* target = target_in(of)) return reference(of, *target, place, depth);
  if (needs_rewriting(of)) return schema(rewritten(of, place, depth), place, depth + 1);
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

void SchemaReader::check_keywords(const Json& of, const std::string& place) const {
  for (const auto& [key, value] : of.members()) {
    if (is_silent_keyword(key) || is_keyword(key)) continue;
    refuse(place, "keyword " + key + " is not supported", near_keyword(key));
  }
}

// ---------------------------------------------------------------- references and branches

const Json& SchemaReader::target_of(const std::string& reference, const std::string& place) const {
  if (reference == "#") return root_;
  if (reference.rfind("#/", 0) != 0) {
    const Json* named =
        reference.rfind('#', 0) == 0 ? anchor_in(root_, reference.substr(1)) : nullptr;
    if (named != nullptr) return *named;
    refuse(place, "$ref \"" + reference + "\" is not supported",
           "only places of the same schema are: #/$defs/NAME, and anchors: #NAME");
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

/// In one resource there is one anchor of a name, so that a dynamic reference is as any other.
void SchemaReader::check_dynamic(const Json& of, const std::string& place) const {
  if (!of.has("$dynamicRef")) return;
  if (of.has("$ref")) refuse(place, "$dynamicRef beside $ref is not supported");
  if (holds_resources(root_)) {
    refuse(place, "$dynamicRef is not supported where a part of the schema has an $id of its own",
           "which anchor it means hangs on the way there; use $ref");
  }
}

SchemaReader::Expression SchemaReader::reference(const Json& of, const Json& target,
                                                 const std::string& place, int depth) {
  const std::string& name = target.as_string(place + "/$ref");
  const Json& found = target_of(name, place);
  check_dynamic(of, place);
  const Json rest = without(of, {"$ref", "$dynamicRef"});
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
Json SchemaReader::followed(const Json& of, const std::string& place, int depth) const {
  if (depth > kDeepest) fail(place, "references follow one another without end");
  const Json* target = of.is_object() ? target_in(of) : nullptr;
  if (target == nullptr) return of;
  check_dynamic(of, place);
  const Json& found = target_of(target->as_string(place + "/$ref"), place);
  return merge_schemas(without(of, {"$ref", "$dynamicRef"}), followed(found, place, depth + 1),
                       place);
}

/// A schema without keywords that others can say; what `not` and `if` refer to is followed.
Json SchemaReader::rewritten(const Json& of, const std::string& place, int depth) const {
  if (!needs_rewriting(of)) return of;
  Json plain = Json::object();
  for (const auto& [key, value] : of.members()) {
    const bool refers = key == "not" || key == "if";
    plain.set(key, refers ? followed(value, below(place, key), depth) : value);
  }
  return rewrite_keywords(plain, place);
}

Json SchemaReader::merged(const Json& of, const std::string& place, int depth) const {
  Json all = without(of, {"allOf"});
  int number = 0;
  for (const Json& part : of.get("allOf").items()) {
    const std::string here = place + "/allOf/" + std::to_string(number++);
    Json next = rewritten(followed(part, here, depth), here, depth);
    if (next.is_object() && next.has("allOf")) {
      if (depth > kDeepest) fail(here, "nested too deep");
      next = merged(next, here, depth + 1);
    }
    all = merge_schemas(all, next, here);
  }
  return all;
}

SchemaReader::Expression SchemaReader::branches(const Json& of, const char* key,
                                                const std::string& place, int depth) {
  const std::vector<Json>& list = of.get(key).items();
  if (list.empty()) fail(place, std::string(key) + " has no branches");
  if (std::string_view(key) == "oneOf") check_apart(list, place, depth);
  const Json rest = without(of, {key});
  const bool alone = says_nothing(rest);
  std::vector<Expression> ways;
  ++branches_;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::string here = place + "/" + key + "/" + std::to_string(i);
    if (alone) {
      ways.push_back(schema(list[i], here, depth + 1));
    } else {
      const Json own = rewritten(followed(list[i], here, depth), here, depth);
      ways.push_back(schema(merge_schemas(rest, own, here), here, depth + 1));
    }
  }
  --branches_;
  return grammar_.choice(std::move(ways));
}

/// Raises unless no value fits two branches of a oneOf: by their types, or by a member that each
/// requires and for which each has other constants.
void SchemaReader::check_apart(const std::vector<Json>& list, const std::string& place,
                               int depth) const {
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

SchemaReader::Expression SchemaReader::literals(const Json& of, const std::string& place) {
  for (const auto& [key, value] : of.members()) {
    if (is_silent_keyword(key) || key == "enum" || key == "const" || key == "type") continue;
    if (key == "not" || is_bound(key)) continue;
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
    if (fits && is_within(of, value) && !is_excluded(of, value)) texts.push_back(write_json(value));
  }
  // What was put together may leave nothing: another branch does.
  if (texts.empty() && !of.has("not") && !values.empty()) {
    fail(place, "no value of enum or const is of the type");
  }
  return grammar_.texts(std::move(texts));
}

SchemaReader::Expression SchemaReader::typed(const Json& of, const std::string& type,
                                             const std::string& place, int depth) {
  if (type == "object") return object(of, place, depth);
  if (type == "array") return array(of, place, depth);
  if (type == "string") return string(of, place);
  if (type == "number") return number(of, place, false);
  if (type == "integer") return number(of, place, true);
  std::vector<Expression> ways;
  for (const Json& value :
       type == "boolean" ? std::vector<Json>{true, false} : std::vector<Json>{Json()}) {
    if (!is_excluded(of, value)) ways.push_back(grammar_.text(write_json(value)));
  }
  return grammar_.choice(std::move(ways));
}

Grammar json_schema_grammar(std::string_view schema, JsonSpace space) {
  JsonLimits limits;
  limits.max_bytes = std::size_t{4} << 20;
  limits.max_values = SchemaReader::kMostSchemas * 10;
  return SchemaReader(parse_json(schema, "json_schema", limits), space).read();
}

}  // namespace perilune
