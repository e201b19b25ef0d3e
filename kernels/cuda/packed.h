// Weights as the products read them. Zeros fill what lies beyond the matrix.
//
// Mode f32, element type as stored: panels of 32 outputs, inputs ascending inside a panel:
//   [panel][input][32 outputs]
// so that a warp, one output a lane, reads 32 neighbours for every input.
//
// Mode bf16: tiles of 16 outputs by 16 inputs, each as the A operand of mma.m16n8k16 lies in
// registers (PTX ISA), tiles of one 16 outputs one after the other:
//   [outputs / 16][inputs / 16][lane][8 elements]
// so that a lane loads its four registers as one 16-byte word.
#pragma once

#include <cstdint>

#include "kernels/cuda/cuda.h"
#include "kernels/kernel_table.h"

namespace perilune::kernels::cuda {

inline constexpr std::int64_t kPanel = 32;  // outputs of a panel, mode f32
inline constexpr std::int64_t kTile = 16;   // outputs and inputs of a tile, mode bf16

__host__ __device__ constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

/// Elements of a packed matrix, zeros included.
constexpr std::int64_t packed_elements(std::int64_t outputs, std::int64_t inputs, MathMode math) {
  return math == MathMode::bf16 ? ceil_div(outputs, kTile) * ceil_div(inputs, kTile) * kTile * kTile
                                : ceil_div(outputs, kPanel) * kPanel * inputs;
}

/// Where the element (output, input) lies.
__device__ __forceinline__ std::int64_t packed_index(MathMode math, std::int64_t inputs,
                                                     std::int64_t output, std::int64_t input) {
  if (math != MathMode::bf16) {
    return (output / kPanel * inputs + input) * kPanel + output % kPanel;
  }
  const std::int64_t tile = output / kTile * ceil_div(inputs, kTile) + input / kTile;
  const int row = static_cast<int>(output % kTile), column = static_cast<int>(input % kTile);
  const int lane = row % 8 * 4 + column % 8 / 2;
  const int element = column / 8 * 4 + row / 8 * 2 + column % 2;
  return tile * kTile * kTile + lane * 8 + element;
}

/// The inverse, for packing.
struct MatrixPlace {
  std::int64_t output, input;
};
__device__ __forceinline__ MatrixPlace packed_place(MathMode math, std::int64_t inputs,
                                                    std::int64_t index) {
  if (math != MathMode::bf16) {
    const std::int64_t line = index / kPanel;
    return {line / inputs * kPanel + index % kPanel, line % inputs};
  }
  const std::int64_t tile = index / (kTile * kTile), tiles = ceil_div(inputs, kTile);
  const int within = static_cast<int>(index % (kTile * kTile));
  const int lane = within / 8, element = within % 8;
  const int row = lane / 4 + element % 4 / 2 * 8,
            column = lane % 4 * 2 + element % 2 + element / 4 * 8;
  return {tile / tiles * kTile + row, tile % tiles * kTile + column};
}

/// The element, widened.
__device__ __forceinline__ float packed_value(const PackedMatrix& matrix, std::int64_t index) {
  switch (matrix.format) {
    case WeightFormat::f32: return static_cast<const float*>(matrix.data)[index];
    case WeightFormat::f16: return to_float(static_cast<const f16*>(matrix.data)[index]);
    case WeightFormat::bf16: return to_float(static_cast<const bf16*>(matrix.data)[index]);
    case WeightFormat::coded: break;  // widened before they are packed here
  }
  return 0.0f;
}

}  // namespace perilune::kernels::cuda
