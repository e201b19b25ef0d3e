// Decoders of one block each of those GGUF types that are only read as numbers, as ggml lays them
// out (ggml-quants.c, ggml-common.h); kernels/coding.h has the others. `block` has the type's
// bytes, `out` room for its elements.
#pragma once

#include <cstdint>

#include "kernels/block_bytes.h"

namespace perilune::gguf_blocks {

using Decode = void (*)(const std::uint8_t* block, float* out);

using kernels::load_f16;
using kernels::load_f32;
using kernels::load_u16;
using kernels::load_u32;

inline float signed_byte(std::uint8_t byte) {
  return static_cast<std::int8_t>(byte);
}

// blocks.cpp: bytes and one scale.
void q8_1(const std::uint8_t* block, float* out);
void q8_k(const std::uint8_t* block, float* out);
// Values that are one bit, one of three, or short floats.
void q1_0(const std::uint8_t* block, float* out);
void tq1_0(const std::uint8_t* block, float* out);
void tq2_0(const std::uint8_t* block, float* out);
void nvfp4(const std::uint8_t* block, float* out);

// blocks_iq.cpp: values out of code books.
void iq1_s(const std::uint8_t* block, float* out);
void iq1_m(const std::uint8_t* block, float* out);
void iq2_xxs(const std::uint8_t* block, float* out);
void iq2_xs(const std::uint8_t* block, float* out);
void iq2_s(const std::uint8_t* block, float* out);
void iq3_xxs(const std::uint8_t* block, float* out);
void iq3_s(const std::uint8_t* block, float* out);

}  // namespace perilune::gguf_blocks
