// How small a text gets: one that repeats itself gets very small.
#pragma once

#include <cstddef>
#include <string_view>

namespace perilune {

/// Bytes that zlib makes of a text, at its usual level. Throws Error(unsupported) in a build
/// without it, Error(memory).
std::size_t compressed_size(std::string_view text);

}  // namespace perilune
