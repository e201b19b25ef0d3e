// Block formats of our own: what others publish in parts, and what is quantized here.
#pragma once

#include "kernels/coding.h"

namespace perilune::kernels {

/// The format at `index` of them, null at the end. All are little-endian; a block is
///   NF4, FP4       f32 scale (largest magnitude), codes
///   NF4_DOUBLE, FP4_DOUBLE   f16 scale, eight magnitudes of 8 bits, codes of eight groups of 32
///   INT8_ROW       f32 scale of the row, values of 8 bits
///   INT8_ABSMAX    the same with the row's largest magnitude, which is divided by 127
///   INT8           f16 scale, values
///   INT8Z          f32 scale, zero point, values
///   INT4           f16 scale, codes (value + 8)
///   INT4Z          f16 scale, zero point of 8 bits, codes (value + zero point)
///   INT4Z_F32      f32 scale, zero point, codes
///   INT2Z, INT3Z   f16 scale, zero point, codes of 2 or 3 bits (streamed_code)
/// A number behind the name counts a block's values where there are several kinds. Codes of 4 bits:
/// value i below, value i + elements / 2 above (of DOUBLE: of each group).
const BlockFormat* own_block_format(int index);

/// Values of codes of 4 bits, times a block's largest magnitude, as bitsandbytes has them (Dettmers
/// et al. 2023, arXiv:2305.14314).
extern const float kNf4Levels[16];
extern const float kFp4Levels[16];

/// Code `index` of a stream of codes of `bits` bits, from each byte's lowest bit on.
inline int streamed_code(const std::uint8_t* stream, int bits, std::int64_t index) {
  const std::int64_t bit = index * bits;
  int both = stream[bit / 8] >> (bit % 8);
  if (bit % 8 + bits > 8) both |= stream[bit / 8 + 1] << (8 - bit % 8);
  return both & ((1 << bits) - 1);
}

}  // namespace perilune::kernels
