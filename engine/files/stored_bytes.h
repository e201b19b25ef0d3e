// What readers of tensor files do with stored bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace perilune {

/// `count` float64 values as the nearest float32 ones. Any alignment.
void round_doubles(const char* from, std::size_t count, char* to);

/// Throws Error(file) where the open file `descriptor`, called `path`, has less than the `bytes` it
/// had: touching a mapping beyond the end kills the process. A file that shrinks after this look
/// still does, so mapping is opt-in.
void require_whole(int descriptor, std::uint64_t bytes, const std::string& path);

}  // namespace perilune
