// What readers of tensor files do with stored bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace perilune {

/// `count` float64 values as the nearest float32 ones. Any alignment.
void round_doubles(const char* from, std::size_t count, char* to);

}  // namespace perilune
