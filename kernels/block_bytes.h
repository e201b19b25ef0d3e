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
inline void store_u16(std::uint16_t value, std::uint8_t* to) {
  to[0] = static_cast<std::uint8_t>(value);
  to[1] = static_cast<std::uint8_t>(value >> 8);
}
inline void store_u32(std::uint32_t value, std::uint8_t* to) {
  store_u16(static_cast<std::uint16_t>(value), to);
  store_u16(static_cast<std::uint16_t>(value >> 16), to + 2);
}
inline void store_f16(float value, std::uint8_t* to) {
  store_u16(f32_to_f16(value), to);
}
inline float load_f32(const std::uint8_t* from) {
  return std::bit_cast<float>(load_u32(from));
}

}  // namespace perilune::kernels
