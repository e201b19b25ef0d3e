// Which registered format holds a quantized matrix, and its blocks.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/weights/quantized/parts.h"

namespace perilune {

/// How inputs are packed: in order of their groups where these are not runs. Empty: as they are.
std::vector<std::int32_t> packed_order(const QuantizedMatrix& matrix);

/// The format that holds exactly the values of the matrix; null where none does: levels of its own,
/// groups that cut through the blocks of every format.
const kernels::BlockFormat* format_of(const QuantizedMatrix& matrix);

/// Outputs [first, first + count) as blocks of `format`, inputs in `order`.
void to_blocks(const QuantizedMatrix& matrix, const LoadedMatrix& loaded,
               const kernels::BlockFormat& format, const std::vector<std::int32_t>& order,
               std::int64_t first, std::int64_t count, std::uint8_t* to);

/// Their values [output, input], inputs as they are in the file.
void to_values(const QuantizedMatrix& matrix, const LoadedMatrix& loaded, std::int64_t first,
               std::int64_t count, float* to);

}  // namespace perilune
