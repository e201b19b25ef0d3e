// Numbers in stored blocks: little-endian, any alignment.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/dtype.h"

namespace perilune::kernels {

inline std::uint16_t load_u16(const std::uint8_t* from) {
  return static_cast<std::uint16_t>(from[0] | from[1] << 8);
}
inline std::uint32_t load_u32(const std::uint8_t* from) {
  return load_u16(from) | static_cast<std::uint32_t>(load_u16(from + 2)) << 16;
}
inline float load_f16(const std::uint8_t* from) {
  return f16_to_f32(load_u16(from));
}
inline float load_f32(const std::uint8_t* from) {
  return std::bit_cast<float>(load_u32(from));
}

}  // namespace perilune::kernels
