// Keywords of JSON schemas that others can say: not, if, and what depends on members.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/base/json.h"

namespace perilune {

/// Schemas of which a value fits one exactly where it does not fit `of`, or of some texts fewer;
/// empty: there is none. What they may say beyond the other keywords is a plain `not` (below).
/// Nothing where that takes more; `why` is the keyword then.
std::optional<std::vector<Json>> negated(const Json& of, std::string& why);

/// Whether a value of `not` holds constants and patterns alone: { enum= | const= | pattern= }, or
/// anyOf of these.
bool is_plain_not(const Json& of);
/// Both of two plain ones.
Json joined_nots(const Json& a, const Json& b);
/// The constants and patterns that a schema's plain `not` excludes.
struct Exclusions {
  std::vector<Json> values;
  std::vector<std::string> patterns;
};
Exclusions exclusions_of(const Json& schema);
/// Whether a schema's plain `not` excludes this value.
bool is_excluded(const Json& schema, const Json& value);

/// Whether a schema has keywords that rewrite_keywords() takes out.
bool needs_rewriting(const Json& of);
/// The same schema without them, in `allOf` and plain `not`. References in them were followed.
/// Throws Error(unsupported) with `place` where that takes more.
Json rewrite_keywords(const Json& of, const std::string& place);

/// The place of what lies at `key` in a place.
std::string below(const std::string& place, const std::string& key);

}  // namespace perilune
