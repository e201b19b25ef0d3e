// Base64 (RFC 4648), strict: padded, no white space.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace perilune {

std::string base64_of(std::string_view bytes);
/// nullopt for text that is no base64.
std::optional<std::string> bytes_of_base64(std::string_view text);

}  // namespace perilune
