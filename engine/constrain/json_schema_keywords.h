// What is known of the keywords of JSON schemas: types, formats, which exclude each other.
#pragma once

#include <string>
#include <vector>

#include "engine/base/json.h"

namespace perilune {

/// A keyword that says what fits.
bool is_keyword(const std::string& key);
/// "did you mean ...?" with the keyword that is nearest, or nothing.
std::string near_keyword(const std::string& key);
/// One that only describes.
bool is_silent_keyword(const std::string& key);

/// A regular expression for texts of a format that is_known_format; some formats allow more.
std::string pattern_of_format(const std::string& format);
bool is_known_format(const std::string& format);

/// What `type` says, or what the keywords speak of, or everything. Throws Error(argument).
std::vector<std::string> types_of(const Json& of, const std::string& place);
bool is_type(const Json& value, const std::string& type);

/// A keyword that bounds numbers, and whether a value that is one lies within those of a schema.
bool is_bound(const std::string& key);
bool is_within(const Json& schema, const Json& value);

/// Whether no value fits both: by their types, their constants, or a member that each requires and
/// for which each has other constants.
bool never_both(const Json& a, const Json& b, const std::string& place);

}  // namespace perilune
