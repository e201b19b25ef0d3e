// Code books that GGUF's IQ types index. An entry packs its values' positions in a short list of
// levels: 8 values of 2 bits (IQ1, IQ2), 4 values of 3 bits (IQ3), the first in the lowest bits.
#pragma once

#include <cstdint>

namespace perilune {

extern const std::uint16_t kIq1Grid[2048];    // levels -1, 0, 1
extern const std::uint16_t kIq2XxsGrid[256];  // levels 8, 25, 43
extern const std::uint16_t kIq2XsGrid[512];
extern const std::uint16_t kIq2SGrid[1024];
extern const std::uint16_t kIq3XxsGrid[256];  // levels 4, 12, 20, 28, 36, 44, 52, 62
extern const std::uint16_t kIq3SGrid[512];    // levels 1, 3, 5, ... 15

}  // namespace perilune
