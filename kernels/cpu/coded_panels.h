// Packing of coded weights on a CPU, and their rows read back. Compiled once, used by every tier.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernel_table.h"

namespace perilune::kernels::coded_panels {

std::size_t packed_bytes(std::int64_t width, const Coding& coding, std::int64_t outputs,
                         std::int64_t inputs);
void pack(const Launch& launch, std::int64_t width, const PackCodedArguments& arguments);

/// Value (output, input), as read_block_values has it; inputs count as they are packed.
struct Element {
  int value;             // of the code, less the zero point; 0 where the coding has levels
  float scale, minimum;  // of its group; the minimum is 0 where the coding has none
  float weight;          // what they mean
};
Element element(std::int64_t width, const PackedMatrix& matrix, std::int64_t output,
                std::int64_t input);
/// out[k] = value (row, k) * factor, k counting as the matrix has its inputs.
void read_row(std::int64_t width, const PackedMatrix& matrix, std::int64_t row, float factor,
              float* out);

}  // namespace perilune::kernels::coded_panels
