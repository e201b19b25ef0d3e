// compressed-tensors: whole numbers of 8 bits as they are, or of 4 and 8 bits packed in words.
#include <algorithm>

#include "engine/weights/quantized/parts.h"

namespace perilune {
namespace {

/// Scales [output, group], [output], or one for all.
void set_groups(QuantizedMatrix& matrix, const QuantizedParts& parts) {
  const std::vector<std::int64_t>& sizes = parts.sizes("weight_scale");
  std::int64_t count = 1;
  for (const std::int64_t size : sizes) count *= size;
  if (count == 1) {
    matrix.groups = 1;
    matrix.group_size = matrix.inputs;
    return;
  }
  if (sizes.size() == 1) {
    parts.expect("weight_scale", {DType::f32, DType::f16, DType::bf16}, {matrix.outputs});
  } else {
    parts.expect("weight_scale", {DType::f32, DType::f16, DType::bf16}, {matrix.outputs, -1});
  }
  matrix.groups = sizes.size() == 1 ? 1 : sizes[1];
  if (matrix.groups < 1 || (matrix.inputs % matrix.groups != 0)) {
    throw parts.wrong("weight_scale", std::to_string(matrix.inputs) +
                                          " inputs do not divide into " +
                                          std::to_string(matrix.groups) + " groups");
  }
  matrix.group_size = matrix.inputs / matrix.groups;
}

/// One for each output and group, where the file has one for all.
template <class Element>
void spread(std::vector<Element>& numbers, const QuantizedMatrix& matrix) {
  const auto count = static_cast<std::size_t>(matrix.outputs * matrix.groups);
  if (numbers.size() == 1) numbers.resize(count, numbers[0]);
}

void set_group_index(QuantizedMatrix& matrix, const QuantizedParts& parts) {
  if (!parts.has("weight_g_idx")) return;
  parts.expect("weight_g_idx", {DType::i32, DType::i64}, {matrix.inputs});
  std::vector<std::int32_t> group_of = parts.integers("weight_g_idx");
  bool runs = true;
  for (std::int64_t k = 0; k < matrix.inputs; ++k) {
    const std::int64_t group = group_of[static_cast<std::size_t>(k)];
    if (group == -1) return;  // what the tool writes where inputs are in order
    if (group < 0 || group >= matrix.groups) {
      throw parts.wrong("weight_g_idx", "input " + std::to_string(k + 1) + " is of group " +
                                            std::to_string(group) + ", there are 0 to " +
                                            std::to_string(matrix.groups - 1));
    }
    runs = runs && group == k / matrix.group_size;
  }
  if (!runs) matrix.group_of = std::move(group_of);
}

bool packed_zeros(const QuantizedParts& parts) {
  return parts.get("weight_zero_point").tensor->dtype == DType::i32;
}

void check_zeros(const QuantizedMatrix& matrix, const QuantizedParts& parts) {
  if (!parts.has("weight_zero_point")) return;
  if (packed_zeros(parts)) {
    parts.expect("weight_zero_point", {DType::i32},
                 {(matrix.outputs * matrix.bits + 31) / 32, matrix.groups});
  } else if (parts.sizes("weight_zero_point") != parts.sizes("weight_scale")) {
    throw parts.wrong("weight_zero_point",
                      "the scales are " + sizes_text(parts.sizes("weight_scale")));
  } else if (parts.get("weight_zero_point").tensor->dtype != DType::i8 &&
             parts.get("weight_zero_point").tensor->dtype != DType::u8) {
    throw parts.wrong("weight_zero_point", "expected i8, or i32 where they are packed");
  }
}

/// As numbers of codes: what the file has as signed numbers begins at half of the range.
std::vector<std::int16_t> read_zeros(const QuantizedMatrix& matrix, const QuantizedParts& parts) {
  const std::vector<std::int32_t> stored = parts.integers("weight_zero_point");
  std::vector<std::int16_t> zeros;
  if (!packed_zeros(parts)) {
    for (const std::int32_t zero : stored)
      zeros.push_back(static_cast<std::int16_t>(zero + (1 << (matrix.bits - 1))));
    return zeros;
  }
  for (std::int64_t o = 0; o < matrix.outputs; ++o)
    for (std::int64_t g = 0; g < matrix.groups; ++g)
      zeros.push_back(static_cast<std::int16_t>(
          packed_number(stored.data() + g, matrix.groups, matrix.bits, o)));
  return zeros;
}

/// Puts the function of `to` that unpacks codes.
void set_codes(LoadedMatrix& to, const QuantizedMatrix& matrix, const QuantizedParts& parts) {
  const std::int64_t inputs = matrix.inputs;
  if (!parts.has("weight_packed")) {
    to.codes = [bytes = parts.bytes("weight"), inputs](std::int64_t first, std::int64_t count,
                                                       std::uint8_t* codes) {
      for (std::int64_t i = 0; i < count * inputs; ++i)
        codes[i] = bytes[static_cast<std::size_t>(first * inputs + i)] ^ 0x80;
    };
    return;
  }
  const std::int64_t row = parts.sizes("weight_packed")[1];
  to.codes = [words = parts.integers("weight_packed"), inputs, row, bits = matrix.bits](
                 std::int64_t first, std::int64_t count, std::uint8_t* codes) {
    for (std::int64_t o = 0; o < count; ++o)
      for (std::int64_t k = 0; k < inputs; ++k)
        *codes++ =
            static_cast<std::uint8_t>(packed_number(words.data() + (first + o) * row, 1, bits, k));
  };
}

LoadedMatrix load(const QuantizedMatrix& matrix, const QuantizedParts& parts) {
  LoadedMatrix to;
  set_codes(to, matrix, parts);
  to.scales = parts.floats("weight_scale");
  spread(to.scales, matrix);
  to.zero_of_all = 1 << (matrix.bits - 1);
  if (!matrix.has_zeros) return to;
  to.zeros = read_zeros(matrix, parts);
  spread(to.zeros, matrix);
  return to;
}

/// Sizes and bits of packed codes, which only weight_shape tells.
void read_shape(QuantizedMatrix& matrix, const QuantizedParts& parts) {
  parts.expect("weight_packed", {DType::i32}, {-1, -1});
  parts.expect("weight_shape", {DType::i64, DType::i32}, {2});
  const std::vector<std::int32_t> shape = parts.integers("weight_shape");
  matrix.outputs = shape[0];
  matrix.inputs = shape[1];
  const std::vector<std::int64_t>& packed = parts.sizes("weight_packed");
  if (matrix.outputs < 1 || matrix.inputs < 1) {
    throw parts.wrong("weight_shape", "it says " + sizes_text({matrix.outputs, matrix.inputs}));
  }
  for (const int bits : {4, 8}) {
    matrix.bits = bits;
    if (packed[1] == (matrix.inputs + 32 / bits - 1) / (32 / bits) && packed[0] == matrix.outputs) {
      return;
    }
  }
  throw parts.wrong("weight_packed",
                    "weight_shape is " + sizes_text({matrix.outputs, matrix.inputs}) +
                        ", which is no such number of words for codes of 4 or 8 bits");
}

}  // namespace

QuantizedMatrix read_compressed_tensors(const QuantizationConfig&, QuantizedParts parts) {
  QuantizedMatrix matrix;
  if (parts.has("weight_packed")) {
    read_shape(matrix, parts);
  } else {
    parts.expect("weight", {DType::i8}, {-1, -1});
    matrix.bits = 8;
    matrix.outputs = parts.sizes("weight")[0];
    matrix.inputs = parts.sizes("weight")[1];
    if (matrix.outputs < 1 || matrix.inputs < 1) throw parts.wrong("weight", "it is empty");
  }
  matrix.type = "compressed-tensors " + std::to_string(matrix.bits) + " bits";
  set_groups(matrix, parts);
  set_group_index(matrix, parts);
  check_zeros(matrix, parts);
  matrix.has_zeros = parts.has("weight_zero_point");
  matrix.narrow_scales = fit_f16(parts.floats("weight_scale"));
  QuantizedMatrix shape = matrix;
  matrix.load = [shape, parts] { return load(shape, parts); };
  return matrix;
}

}  // namespace perilune
