// Rows into blocks of our own formats (block_formats_own.h): BlockFormat::write of each.
#pragma once

#include <cstdint>

namespace perilune::kernels {

/// The level nearest to a value over the largest magnitude of its block, an f32.
void write_nf4(const float* values, std::uint8_t* block);
void write_nf4_32(const float* values, std::uint8_t* block);
void write_fp4(const float* values, std::uint8_t* block);
void write_fp4_32(const float* values, std::uint8_t* block);
/// The same in groups of 32 whose magnitudes are of 8 bits, times an f16 of 256 values.
void write_nf4_double(const float* values, std::uint8_t* block);
void write_fp4_double(const float* values, std::uint8_t* block);
/// The largest magnitude of the row is 127.
void write_int8_row(const float* row, std::int64_t inputs, std::uint8_t* blocks);
/// The largest magnitude of a block is 127.
void write_int8(const float* values, std::uint8_t* block);
/// A search for the scale of the least squared error.
void write_int4_32(const float* values, std::uint8_t* block);
void write_int4_64(const float* values, std::uint8_t* block);
void write_int4_128(const float* values, std::uint8_t* block);
/// From the smallest value to the largest, or a part of it that loses less.
void write_int4z_32(const float* values, std::uint8_t* block);
void write_int4z_64(const float* values, std::uint8_t* block);
void write_int4z_128(const float* values, std::uint8_t* block);

}  // namespace perilune::kernels
