// JSON schemas as grammars of the JSON texts that fit them.
#pragma once

#include <string_view>

#include "engine/base/json.h"
#include "engine/constrain/grammar.h"
#include "engine/constrain/json_text.h"

namespace perilune {

/// Drafts 7 to 2020-12: type, enum, const, properties, required, additionalProperties,
/// patternProperties, propertyNames, minProperties, maxProperties, unevaluatedProperties, what
/// depends on members, items, prefixItems, minItems, maxItems, contains, minContains, uniqueItems
/// of few values, unevaluatedItems, minLength, maxLength, pattern, format, minimum, maximum and the
/// exclusive ones, multipleOf, anyOf, oneOf of branches that exclude each other, allOf of what can
/// be merged, not and if of what can be turned round, $ref to places of the same schema, $defs;
/// what only describes is passed over.
/// Members stand in the order of `properties`. An object with `properties` holds no others unless
/// additionalProperties says so; a list with prefixItems no more unless items does.
/// Throws Error(format) for text that is no JSON, Error(unsupported) for a keyword beyond these,
/// Error(argument) for wrong values, each with the place; Error(length) for what is too large.
Grammar json_schema_grammar(std::string_view schema, JsonSpace space);

/// Two schemas as one that both allow. Throws Error(unsupported) where that takes more than putting
/// their keywords together. `place` is for errors.
Json merge_schemas(const Json& a, const Json& b, const std::string& place);

}  // namespace perilune
