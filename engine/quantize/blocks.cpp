#include "engine/quantize/blocks.h"

#include <vector>

namespace perilune {

const kernels::BlockFormat& writable_format(const std::string& name, const char* op) {
  const kernels::BlockFormat* format = kernels::find_block_format(name.c_str());
  if (format == nullptr || format->write == nullptr) {
    throw Error(ErrorCode::unsupported, op, "no blocks of " + name + " are written here");
  }
  return *format;
}

Tensor write_blocks(const std::string& name, const Tensor& weights) {
  const kernels::BlockFormat& format = writable_format(name, "write_blocks");
  const std::int64_t outputs = weights.shape().size(0), inputs = weights.shape().size(1);
  const std::int64_t bytes = format.row_blocks(inputs) * format.bytes;
  Tensor blocks =
      Tensor::make(weights.context(), DType::u8, Shape{{"output", outputs}, {"byte", bytes}});
  const auto* from = weights.as<float>();
  auto* to = blocks.as<std::uint8_t>();
  for_rows(*weights.context(), outputs,
           [&](std::int64_t row) { format.write(from + row * inputs, inputs, to + row * bytes); });
  return blocks;
}

Tensor read_blocks(const std::string& name, const Tensor& blocks, std::int64_t inputs) {
  const kernels::BlockFormat& format = writable_format(name, "read_blocks");
  const std::int64_t outputs = blocks.shape().size(0), bytes = blocks.shape().size(1);
  if (bytes != format.row_blocks(inputs) * format.bytes) {
    throw Error(ErrorCode::shape, "read_blocks",
                "rows of " + std::to_string(bytes) + " bytes are not " + std::to_string(inputs) +
                    " inputs of " + name);
  }
  Tensor values =
      Tensor::make(blocks.context(), DType::f32, Shape{{"output", outputs}, {"input", inputs}});
  const auto* from = blocks.as<std::uint8_t>();
  auto* to = values.as<float>();
  for_rows(*blocks.context(), outputs, [&](std::int64_t row) {
    std::vector<float> block(static_cast<std::size_t>(format.elements));
    for (std::int64_t first = 0; first < inputs; first += format.elements) {
      kernels::read_block_values(
          format, from + row * bytes + first / format.elements * format.bytes, block.data());
      const std::int64_t count = std::min(format.elements, inputs - first);
      std::copy(block.begin(), block.begin() + count, to + row * inputs + first);
    }
  });
  return values;
}

}  // namespace perilune
