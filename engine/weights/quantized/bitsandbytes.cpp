// bitsandbytes: LLM.int8 (Dettmers et al. 2022, arXiv:2208.07339), NF4 and FP4 (Dettmers et al.
// 2023, arXiv:2305.14314), with statistics that may be quantized themselves.
#include <algorithm>
#include <cmath>

#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/weights/quantized/parts.h"

namespace perilune {
namespace {

constexpr const char* kStates[] = {"weight.quant_state.bitsandbytes__nf4",
                                   "weight.quant_state.bitsandbytes__fp4"};
constexpr std::int64_t kLargestBlock = 1 << 20;

// ---------------------------------------------------------------- 8 bits

QuantizedMatrix read_eight(const QuantizedParts& parts) {
  parts.expect("weight", {DType::i8}, {-1, -1});
  QuantizedMatrix matrix;
  matrix.type = "LLM.int8";
  matrix.bits = 8;
  matrix.outputs = parts.sizes("weight")[0];
  matrix.inputs = matrix.group_size = parts.sizes("weight")[1];
  matrix.absmax = true;
  if (matrix.outputs < 1 || matrix.inputs < 1) throw parts.wrong("weight", "it is empty");
  parts.expect("SCB", {DType::f32, DType::f16, DType::bf16}, {matrix.outputs});
  parts.floats("SCB");
  if (parts.has("weight_format")) {
    for (const std::uint8_t format : parts.bytes("weight_format")) {
      if (format == 0) continue;
      throw parts
          .wrong("weight_format", "the weight is laid out for one kind of GPU (format " +
                                      std::to_string(format) + "); rows (0) are read")
          .hint("save it again with a newer bitsandbytes");
    }
  }
  matrix.load = [parts, inputs = matrix.inputs] {
    LoadedMatrix to;
    to.scales = parts.floats("SCB");
    to.zero_of_all = 128;
    to.codes = [bytes = parts.bytes("weight"), inputs](std::int64_t first, std::int64_t count,
                                                       std::uint8_t* codes) {
      for (std::int64_t i = 0; i < count * inputs; ++i)
        codes[i] = bytes[static_cast<std::size_t>(first * inputs + i)] ^ 0x80;
    };
    return to;
  };
  return matrix;
}

// ---------------------------------------------------------------- 4 bits

/// The numbers of quant_state.
struct State {
  std::int64_t block = 64, nested_block = 256;
  float nested_offset = 0;
  std::int64_t outputs = 0, inputs = 0;
  bool nested = false;
};

State read_state(const QuantizedParts& parts, const std::string& part) {
  const std::vector<std::uint8_t> text = parts.bytes(part);
  const Json json =
      parse_json({reinterpret_cast<const char*>(text.data()), text.size()},
                 base_name(parts.get(part).file->path()) + ": " + parts.get(part).tensor->name);
  State state;
  state.block = json.integer_in("blocksize", 2, kLargestBlock);
  const std::vector<std::int64_t> shape = json.integers("shape");
  if (shape.size() != 2 || shape[0] < 1 || shape[1] < 1 || shape[0] > INT32_MAX ||
      shape[1] > INT32_MAX) {
    throw parts.wrong(part,
                      "its shape is " + sizes_text(shape) + ", a matrix has [outputs, inputs]");
  }
  state.outputs = shape[0];
  state.inputs = shape[1];
  state.nested = json.find_value("nested_blocksize") != nullptr;
  if (!state.nested) return state;
  state.nested_block = json.integer_in("nested_blocksize", 2, kLargestBlock);
  state.nested_offset = static_cast<float>(json.number("nested_offset"));
  if (!std::isfinite(state.nested_offset)) throw parts.wrong(part, "nested_offset is not finite");
  return state;
}

std::int64_t blocks_of(std::int64_t elements, std::int64_t block) {
  return (elements + block - 1) / block;
}

/// Scales of all blocks.
std::vector<float> read_scales(const QuantizedParts& parts, const State& state) {
  if (!state.nested) return parts.floats("weight.absmax");
  const std::vector<std::uint8_t> codes = parts.bytes("weight.absmax");
  const std::vector<float> map = parts.floats("weight.nested_quant_map");
  const std::vector<float> outer = parts.floats("weight.nested_absmax");
  std::vector<float> scales(codes.size());
  for (std::size_t i = 0; i < codes.size(); ++i) {
    const float product = map[codes[i]] * outer[i / static_cast<std::size_t>(state.nested_block)];
    scales[i] = product + state.nested_offset;
  }
  return scales;
}

void check_four(const QuantizedParts& parts, const State& state) {
  const std::int64_t elements = state.outputs * state.inputs;
  const StoredTensor& weight = *parts.get("weight").tensor;
  require_readable(weight, parts.get("weight").file->path());
  const auto bytes = static_cast<std::int64_t>(weight.end - weight.begin);
  if (bytes != (elements + 1) / 2) {
    throw parts.wrong("weight", sizes_text({state.outputs, state.inputs}) +
                                    " codes of 4 bits are " + std::to_string((elements + 1) / 2) +
                                    " bytes, it has " + std::to_string(bytes));
  }
  const std::int64_t blocks = blocks_of(elements, state.block);
  parts.expect("weight.quant_map", {DType::f32}, {16});
  if (!state.nested) {
    parts.expect("weight.absmax", {DType::f32, DType::f16, DType::bf16}, {blocks});
    return;
  }
  parts.expect("weight.absmax", {DType::u8}, {blocks});
  parts.expect("weight.nested_absmax", {DType::f32}, {blocks_of(blocks, state.nested_block)});
  parts.expect("weight.nested_quant_map", {DType::f32}, {256});
}

LoadedMatrix load_four(const QuantizedParts& parts, const State& state) {
  LoadedMatrix to;
  to.scales = read_scales(parts, state);
  to.codes = [pairs = parts.bytes("weight"), inputs = state.inputs](
                 std::int64_t first, std::int64_t count, std::uint8_t* codes) {
    for (std::int64_t i = 0; i < count * inputs; ++i) {  // the first of a pair lies above
      const std::int64_t at = first * inputs + i;
      const std::uint8_t pair = pairs[static_cast<std::size_t>(at / 2)];
      codes[i] = at % 2 == 0 ? pair >> 4 : pair & 15;
    }
  };
  return to;
}

QuantizedMatrix read_four(const QuantizedParts& parts, const std::string& state_part) {
  const State state = read_state(parts, state_part);
  check_four(parts, state);
  QuantizedMatrix matrix;
  matrix.type = state_part.ends_with("nf4") ? "bitsandbytes NF4" : "bitsandbytes FP4";
  matrix.outputs = state.outputs;
  matrix.inputs = matrix.group_size = state.inputs;
  matrix.flat_block = state.block;
  matrix.own_levels = std::make_shared<std::vector<float>>(parts.floats("weight.quant_map"));
  matrix.levels = matrix.own_levels->data();
  read_scales(parts, state);  // says so of what is not finite
  matrix.load = [parts, state] { return load_four(parts, state); };
  return matrix;
}

}  // namespace

QuantizedMatrix read_bitsandbytes(const QuantizationConfig&, QuantizedParts parts) {
  for (const char* state : kStates) {
    if (parts.has(state)) return read_four(parts, state);
  }
  if (parts.has("weight.absmax") || parts.has("weight.quant_map")) parts.get(kStates[0]);
  return read_eight(parts);
}

}  // namespace perilune
