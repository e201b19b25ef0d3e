// Unicode properties and POSIX classes as PCRE2 writes them.
#pragma once

#include <string>
#include <string_view>

namespace perilune {

/// What \p{name} is inside of a PCRE2 class; "" for a name that is not known.
std::string pcre_property(std::string_view name);

/// The same for a POSIX name ([:name:]).
std::string pcre_posix_class(std::string_view name);

/// \w inside of a class.
extern const char* const kPcreWordInClass;
/// \w elsewhere, for the inside of PCRE2's class.
extern const char* const kPcreWord;

}  // namespace perilune
