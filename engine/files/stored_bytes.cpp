#include "engine/files/stored_bytes.h"

#include <cstring>

namespace perilune {

void round_doubles(const char* from, std::size_t count, char* to) {
  for (std::size_t i = 0; i < count; ++i) {
    double value = 0;
    std::memcpy(&value, from + i * sizeof value, sizeof value);
    const auto rounded = static_cast<float>(value);
    std::memcpy(to + i * sizeof rounded, &rounded, sizeof rounded);
  }
}

}  // namespace perilune
