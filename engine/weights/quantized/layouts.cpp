#include "engine/weights/quantized/layouts.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "kernels/block_formats_own.h"

namespace perilune {
namespace {

using kernels::BlockFormat;
using kernels::ScaleType;

/// The group of a row's input.
std::int64_t group_at(const QuantizedMatrix& matrix, std::int64_t input) {
  if (!matrix.group_of.empty()) return matrix.group_of[static_cast<std::size_t>(input)];
  return input / matrix.group_size;
}

/// Where the scale of an element lies in LoadedMatrix::scales.
std::size_t scale_at(const QuantizedMatrix& matrix, std::int64_t output, std::int64_t input) {
  if (matrix.flat_block != 0) {
    return static_cast<std::size_t>((output * matrix.inputs + input) / matrix.flat_block);
  }
  return static_cast<std::size_t>(output * matrix.groups + group_at(matrix, input));
}

/// Whether runs of `size` packed inputs never have two scales.
bool runs_of(const QuantizedMatrix& matrix, std::int64_t size) {
  if (matrix.flat_block != 0) return matrix.flat_block % size == 0 && matrix.inputs % size == 0;
  if (matrix.groups == 1) return true;
  if (matrix.group_of.empty()) return matrix.group_size % size == 0;
  std::vector<std::int64_t> counts(static_cast<std::size_t>(matrix.groups));
  for (const std::int32_t group : matrix.group_of) ++counts[static_cast<std::size_t>(group)];
  std::int64_t before = 0;  // a group may end anywhere where the row does
  for (const std::int64_t count : counts) {
    if (count != 0 && before % size != 0) return false;
    before += count;
  }
  return true;
}

/// The format of the longest blocks that fit, of "NAME_128", "NAME_64", "NAME_32".
const BlockFormat* longest(const QuantizedMatrix& matrix, const std::string& name) {
  for (const std::int64_t size : {128, 64, 32}) {
    const std::string sized = name + "_" + std::to_string(size);
    const BlockFormat* format = kernels::find_block_format(sized.c_str());
    if (format != nullptr && runs_of(matrix, size)) return format;
  }
  return nullptr;
}

const BlockFormat* format_of_levels(const QuantizedMatrix& matrix) {
  const std::pair<const char*, const float*> known[] = {{"NF4", kernels::kNf4Levels},
                                                        {"FP4", kernels::kFp4Levels}};
  for (const auto& [name, levels] : known) {
    if (!std::equal(levels, levels + 16, matrix.levels)) continue;
    const std::string of_32 = std::string(name) + "_32";
    if (runs_of(matrix, 64)) return kernels::find_block_format(name);
    if (runs_of(matrix, 32)) return kernels::find_block_format(of_32.c_str());
  }
  return nullptr;
}

void put_scale(const BlockFormat& format, float scale, std::uint8_t*& to) {
  if (format.coding.scale == ScaleType::f16) {
    const std::uint16_t bits = f32_to_f16(scale);
    std::memcpy(to, &bits, sizeof bits);
    to += sizeof bits;
  } else {
    std::memcpy(to, &scale, sizeof scale);
    to += sizeof scale;
  }
}

/// The stored codes of one block; `codes` are the row's, in packed order, from the block's first.
void put_codes(const BlockFormat& format, const std::uint8_t* codes, std::uint8_t* to) {
  const std::int64_t half = format.elements / 2;
  const int bits = format.coding.bits;
  if (bits == 8) {
    for (std::int64_t i = 0; i < format.elements; ++i) to[i] = codes[i] ^ 0x80;
  } else if (bits < 4) {  // as kernels::streamed_code reads them
    std::fill_n(to, format.elements * bits / 8, std::uint8_t{0});
    for (std::int64_t i = 0; i < format.elements; ++i) {
      const std::int64_t bit = i * bits;
      const int shifted = codes[i] << (bit % 8);
      to[bit / 8] = static_cast<std::uint8_t>(to[bit / 8] | shifted);
      if (shifted > 255) to[bit / 8 + 1] = static_cast<std::uint8_t>(shifted >> 8);
    }
  } else {
    for (std::int64_t i = 0; i < half; ++i)
      to[i] = static_cast<std::uint8_t>(codes[i] | codes[i + half] << 4);
  }
}

/// A zero point as the format counts it: from the value of code 0.
std::uint8_t stored_zero(const BlockFormat& format, int zero) {
  return static_cast<std::uint8_t>(zero - (format.coding.bits == 8 ? 128 : 0));
}

int zero_at(const LoadedMatrix& loaded, std::size_t scale) {
  return loaded.zeros.empty() ? loaded.zero_of_all : loaded.zeros[scale];
}

}  // namespace

std::vector<std::int32_t> packed_order(const QuantizedMatrix& matrix) {
  if (matrix.group_of.empty()) return {};
  std::vector<std::int32_t> order(static_cast<std::size_t>(matrix.inputs));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return group_at(matrix, a) < group_at(matrix, b);
  });
  return order;
}

const BlockFormat* format_of(const QuantizedMatrix& matrix) {
  if (matrix.levels != nullptr) return format_of_levels(matrix);
  if (matrix.absmax) return kernels::find_block_format("INT8_ABSMAX");
  if (matrix.bits == 8) {
    const bool row = matrix.groups == 1 && !matrix.has_zeros;
    return row ? kernels::find_block_format("INT8_ROW") : longest(matrix, "INT8Z");
  }
  if (!matrix.narrow_scales) return longest(matrix, "INT4Z_F32");
  if (matrix.bits < 4) return longest(matrix, matrix.bits == 2 ? "INT2Z" : "INT3Z");
  return longest(matrix, matrix.has_zeros ? "INT4Z" : "INT4");
}

void to_blocks(const QuantizedMatrix& matrix, const LoadedMatrix& loaded, const BlockFormat& format,
               const std::vector<std::int32_t>& order, std::int64_t first, std::int64_t count,
               std::uint8_t* to) {
  const std::int64_t row_blocks = format.row_blocks(matrix.inputs);
  std::vector<std::uint8_t> all(static_cast<std::size_t>(count * matrix.inputs));
  loaded.codes(first, count, all.data());
  std::vector<std::uint8_t> row(static_cast<std::size_t>(row_blocks * format.elements));
  for (std::int64_t o = 0; o < count; ++o) {
    const std::uint8_t* codes = all.data() + o * matrix.inputs;
    for (std::int64_t k = 0; k < matrix.inputs; ++k) {
      row[static_cast<std::size_t>(k)] =
          codes[order.empty() ? k : order[static_cast<std::size_t>(k)]];
    }
    for (std::int64_t b = 0; b < row_blocks; ++b) {
      const std::int64_t at = b * format.elements;
      const std::int64_t input = order.empty() ? at : order[static_cast<std::size_t>(at)];
      const std::size_t scale = scale_at(matrix, first + o, input);
      put_scale(format, loaded.scales[scale], to);
      if (format.coding.zero_points) *to++ = stored_zero(format, zero_at(loaded, scale));
      put_codes(format, row.data() + at, to);
      to += format.elements * format.coding.bits / 8;
    }
  }
}

void to_values(const QuantizedMatrix& matrix, const LoadedMatrix& loaded, std::int64_t first,
               std::int64_t count, float* to) {
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(count * matrix.inputs));
  loaded.codes(first, count, codes.data());
  for (std::int64_t o = 0; o < count; ++o)
    for (std::int64_t k = 0; k < matrix.inputs; ++k) {
      const std::size_t scale = scale_at(matrix, first + o, k);
      const int code = codes[static_cast<std::size_t>(o * matrix.inputs + k)];
      const float value = matrix.levels != nullptr
                              ? matrix.levels[code]
                              : static_cast<float>(code - zero_at(loaded, scale));
      const float scaled = value * loaded.scales[scale];
      *to++ = matrix.absmax ? scaled / 127 : scaled;
    }
}

}  // namespace perilune
