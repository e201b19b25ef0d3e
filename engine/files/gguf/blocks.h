// Decoders of one block each of GGUF's quantized tensor types, as ggml lays them out
// (ggml-quants.c, ggml-common.h). `block` has the type's bytes, `out` room for its elements.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/dtype.h"

namespace perilune::gguf_blocks {

using Decode = void (*)(const std::uint8_t* block, float* out);

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

inline float signed_byte(std::uint8_t byte) {
  return static_cast<std::int8_t>(byte);
}

// gguf_blocks.cpp: one scale for 32 values.
void q4_0(const std::uint8_t* block, float* out);
void q4_1(const std::uint8_t* block, float* out);
void q5_0(const std::uint8_t* block, float* out);
void q5_1(const std::uint8_t* block, float* out);
void q8_0(const std::uint8_t* block, float* out);
void q8_1(const std::uint8_t* block, float* out);
// Values that are one bit, one of three, or short floats.
void q1_0(const std::uint8_t* block, float* out);
void tq1_0(const std::uint8_t* block, float* out);
void tq2_0(const std::uint8_t* block, float* out);
void mxfp4(const std::uint8_t* block, float* out);
void nvfp4(const std::uint8_t* block, float* out);

// gguf_blocks_k.cpp: 256 values whose sub-blocks' scales are quantized too.
void q2_k(const std::uint8_t* block, float* out);
void q3_k(const std::uint8_t* block, float* out);
void q4_k(const std::uint8_t* block, float* out);
void q5_k(const std::uint8_t* block, float* out);
void q6_k(const std::uint8_t* block, float* out);
void q8_k(const std::uint8_t* block, float* out);

// gguf_blocks_iq.cpp: values out of code books.
void iq1_s(const std::uint8_t* block, float* out);
void iq1_m(const std::uint8_t* block, float* out);
void iq2_xxs(const std::uint8_t* block, float* out);
void iq2_xs(const std::uint8_t* block, float* out);
void iq2_s(const std::uint8_t* block, float* out);
void iq3_xxs(const std::uint8_t* block, float* out);
void iq3_s(const std::uint8_t* block, float* out);
void iq4_nl(const std::uint8_t* block, float* out);
void iq4_xs(const std::uint8_t* block, float* out);

}  // namespace perilune::gguf_blocks
