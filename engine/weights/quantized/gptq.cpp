// GPTQ (Frantar et al. 2022, arXiv:2210.17323) and AWQ (Lin et al. 2023, arXiv:2306.00978) as
// AutoGPTQ, GPTQModel and AutoAWQ store them: codes in words of 32 bits.
#include <algorithm>

#include "engine/weights/quantized/parts.h"

namespace perilune {
namespace {

constexpr std::int64_t kOutputsAtOnce = 64;  // whose words share cache lines

std::string count(std::int64_t number, const char* what) {
  return std::to_string(number) + " " + what;
}

/// groups of `group_size` inputs, -1: one. Throws where the scales have another number.
void set_groups(QuantizedMatrix& matrix, const QuantizationConfig& config,
                const QuantizedParts& parts) {
  matrix.groups = parts.sizes("scales")[0];
  if (matrix.groups < 1) throw parts.wrong("scales", "there are no groups");
  const std::int64_t configured = config.group_size.value_or(-1);
  matrix.group_size = configured < 0 ? matrix.inputs : configured;
  if (config.mixed) matrix.group_size = (matrix.inputs + matrix.groups - 1) / matrix.groups;
  const std::int64_t expected = (matrix.inputs + matrix.group_size - 1) / matrix.group_size;
  if (matrix.groups == expected) return;
  throw parts
      .wrong("scales", count(matrix.inputs, "inputs in groups of ") +
                           std::to_string(matrix.group_size) + " are " + count(expected, "groups") +
                           ", it has " + std::to_string(matrix.groups))
      .hint("group_size in config.json's quantization_config says how many inputs share a scale");
}

/// [group, output] as [output, group].
template <class To, class From>
std::vector<To> turned(const std::vector<From>& from, std::int64_t groups, std::int64_t outputs) {
  std::vector<To> to(from.size());
  for (std::int64_t g = 0; g < groups; ++g)
    for (std::int64_t o = 0; o < outputs; ++o)
      to[static_cast<std::size_t>(o * groups + g)] =
          static_cast<To>(from[static_cast<std::size_t>(g * outputs + o)]);
  return to;
}

/// Codes of outputs [first, first + count) by code_at(output, input), in an order that is kind to
/// words of [input, output] and codes of [output, input] both.
template <class CodeAt>
void each_code(std::int64_t inputs, std::int64_t first, std::int64_t count, std::uint8_t* to,
               const CodeAt& code_at) {
  for (std::int64_t from = 0; from < count; from += kOutputsAtOnce) {
    const std::int64_t until = std::min(from + kOutputsAtOnce, count);
    for (std::int64_t k = 0; k < inputs; ++k)
      for (std::int64_t o = from; o < until; ++o)
        to[o * inputs + k] = static_cast<std::uint8_t>(code_at(first + o, k));
  }
}

// ---------------------------------------------------------------- GPTQ

/// The bits of one module where modules differ: the zero points' row has a code for each output.
std::int64_t bits_of(const QuantizationConfig& config, const QuantizedParts& parts) {
  if (!config.mixed) return config.bits;
  parts.expect("qzeros", {DType::i32}, {-1, -1});
  const std::int64_t outputs = std::max<std::int64_t>(1, parts.sizes("qweight")[1]);
  const std::int64_t bits = parts.sizes("qzeros")[1] * 32 / outputs;
  for (const std::int64_t known : {2, 3, 4, 8}) {
    if (bits == known) return bits;
  }
  throw parts.wrong("qzeros",
                    count(outputs, "outputs") + " would have codes of " + count(bits, "bits"));
}

/// The group of each input, where they are not runs. Throws for one that does not exist.
void set_group_index(QuantizedMatrix& matrix, const QuantizedParts& parts) {
  if (!parts.has("g_idx") || parts.sizes("g_idx") == std::vector<std::int64_t>{0}) return;
  parts.expect("g_idx", {DType::i32, DType::i64}, {matrix.inputs});
  std::vector<std::int32_t> group_of = parts.integers("g_idx");
  bool runs = true;
  for (std::int64_t k = 0; k < matrix.inputs; ++k) {
    const std::int64_t group = group_of[static_cast<std::size_t>(k)];
    if (group < 0 || group >= matrix.groups) {
      throw parts.wrong("g_idx", "input " + std::to_string(k + 1) + " is of group " +
                                     std::to_string(group) + ", there are 0 to " +
                                     std::to_string(matrix.groups - 1));
    }
    runs = runs && group == k / matrix.group_size;
  }
  if (!runs) matrix.group_of = std::move(group_of);
}

LoadedMatrix load_gptq(const QuantizedMatrix& matrix, const QuantizedParts& parts, int bits,
                       bool stored_less_one) {
  LoadedMatrix to;
  const std::int64_t outputs = matrix.outputs, groups = matrix.groups, inputs = matrix.inputs;
  to.codes = [words = parts.integers("qweight"), outputs, inputs, bits](
                 std::int64_t first, std::int64_t count, std::uint8_t* codes) {
    each_code(inputs, first, count, codes, [&](std::int64_t o, std::int64_t k) {
      return packed_number(words.data() + o, outputs, bits, k);
    });
  };
  to.scales = turned<float>(parts.floats("scales"), groups, outputs);
  const std::vector<std::int32_t> packed = parts.integers("qzeros");
  const std::int64_t row = parts.sizes("qzeros")[1];
  const std::uint32_t mask = (1u << bits) - 1;
  to.zeros.resize(static_cast<std::size_t>(outputs * groups));
  for (std::int64_t g = 0; g < groups; ++g)
    for (std::int64_t o = 0; o < outputs; ++o) {
      std::uint32_t zero = packed_number(packed.data() + g * row, 1, bits, o);
      if (stored_less_one) zero = (zero + 1) & mask;
      to.zeros[static_cast<std::size_t>(o * groups + g)] = static_cast<std::int16_t>(zero);
    }
  return to;
}

// ---------------------------------------------------------------- AWQ

/// Where output o % 8 lies in its word, counted in codes.
constexpr int kAwqPlaces[8] = {0, 4, 1, 5, 2, 6, 3, 7};

std::uint32_t awq_code(const std::int32_t* row, std::int64_t output) {
  return static_cast<std::uint32_t>(row[output / 8]) >> (4 * kAwqPlaces[output % 8]) & 15;
}

LoadedMatrix load_awq(const QuantizedMatrix& matrix, const QuantizedParts& parts) {
  LoadedMatrix to;
  const std::int64_t outputs = matrix.outputs, groups = matrix.groups, row = outputs / 8;
  to.codes = [words = parts.integers("qweight"), row, inputs = matrix.inputs](
                 std::int64_t first, std::int64_t count, std::uint8_t* codes) {
    each_code(inputs, first, count, codes,
              [&](std::int64_t o, std::int64_t k) { return awq_code(words.data() + k * row, o); });
  };
  to.scales = turned<float>(parts.floats("scales"), groups, outputs);
  const std::vector<std::int32_t> packed = parts.integers("qzeros");
  to.zeros.resize(static_cast<std::size_t>(outputs * groups));
  for (std::int64_t g = 0; g < groups; ++g)
    for (std::int64_t o = 0; o < outputs; ++o)
      to.zeros[static_cast<std::size_t>(o * groups + g)] =
          static_cast<std::int16_t>(awq_code(packed.data() + g * row, o));
  return to;
}

}  // namespace

QuantizedMatrix read_gptq(const QuantizationConfig& config, QuantizedParts parts) {
  parts.expect("qweight", {DType::i32}, {-1, -1});
  const int bits = static_cast<int>(bits_of(config, parts));
  const std::int64_t rows = parts.sizes("qweight")[0];
  QuantizedMatrix matrix;
  matrix.type = "GPTQ " + count(bits, "bits");
  matrix.bits = bits;
  matrix.outputs = parts.sizes("qweight")[1];
  matrix.inputs = rows * 32 / bits;
  if (matrix.inputs < 1 || matrix.outputs < 1 || rows * 32 % bits != 0) {
    throw parts.wrong("qweight",
                      "its words hold no whole number of codes of " + count(bits, "bits"));
  }
  parts.expect("scales", {DType::f16, DType::bf16, DType::f32}, {-1, matrix.outputs});
  const std::int64_t zero_words = (matrix.outputs * bits + 31) / 32;
  parts.expect("qzeros", {DType::i32}, {-1, zero_words});  // of other bits: said before groups are
  set_groups(matrix, config, parts);
  parts.expect("qzeros", {DType::i32}, {matrix.groups, zero_words});
  set_group_index(matrix, parts);
  matrix.has_zeros = true;
  matrix.narrow_scales = fit_f16(parts.floats("scales"));
  const bool less_one = config.stored_less_one;
  // The shape alone: the matrix itself will hold the function.
  QuantizedMatrix shape = matrix;
  matrix.load = [shape, parts, bits, less_one] { return load_gptq(shape, parts, bits, less_one); };
  return matrix;
}

QuantizedMatrix read_awq(const QuantizationConfig& config, QuantizedParts parts) {
  parts.expect("qweight", {DType::i32}, {-1, -1});
  QuantizedMatrix matrix;
  matrix.type = "AWQ 4 bits";
  matrix.inputs = parts.sizes("qweight")[0];
  matrix.outputs = parts.sizes("qweight")[1] * 8;
  if (matrix.inputs < 1 || matrix.outputs < 1) throw parts.wrong("qweight", "it is empty");
  parts.expect("scales", {DType::f16, DType::bf16, DType::f32}, {-1, matrix.outputs});
  set_groups(matrix, config, parts);
  parts.expect("qzeros", {DType::i32}, {matrix.groups, matrix.outputs / 8});
  matrix.has_zeros = true;
  matrix.narrow_scales = fit_f16(parts.floats("scales"));
  QuantizedMatrix shape = matrix;
  matrix.load = [shape, parts] { return load_awq(shape, parts); };
  return matrix;
}

}  // namespace perilune
