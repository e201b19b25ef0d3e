// libFuzzer: a quantization_config and the parts of quantized matrices. The input is the config's
// JSON, a zero byte, and a safetensors file. Reading either throws Error or gives matrices whose
// every row can be read, as blocks of a registered format and as numbers.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/json.h"
#include "engine/files/safetensors.h"
#include "engine/weights/quantized/layouts.h"
#include "engine/weights/quantized/modules.h"

namespace {

using namespace perilune;

constexpr std::int64_t kMostElements = 1 << 16;  // of a matrix whose rows are all read

/// A safetensors file that lies in memory.
class MemoryFile final : public TensorFile {
 public:
  explicit MemoryFile(std::string_view bytes) : bytes_(bytes) {
    const std::uint64_t size = safetensors_header_size(bytes.substr(0, 8), bytes.size(), "fuzz");
    header_ = parse_safetensors_header(bytes.substr(8, size), bytes.size(), "fuzz");
  }
  const std::string& path() const override { return path_; }
  const std::vector<StoredTensor>& tensors() const override { return header_.tensors; }
  const StoredTensor* find(std::string_view) const override { return nullptr; }
  void read(const StoredTensor& tensor, std::uint64_t begin, std::size_t size,
            void* to) const override {
    if (tensor.begin + begin + size > tensor.end || tensor.end > bytes_.size()) std::abort();
    if (size > 0) std::memcpy(to, bytes_.data() + tensor.begin + begin, size);
  }
  const std::map<std::string, std::string>& metadata() const override { return metadata_; }
  const void* mapped(const StoredTensor&) const override { return nullptr; }

 private:
  std::string_view bytes_;
  SafetensorsHeader header_;
  std::string path_ = "fuzz";
  std::map<std::string, std::string> metadata_;
};

void read_all(const QuantizedMatrix& matrix) {
  if (matrix.outputs <= 0 || matrix.inputs <= 0 || matrix.outputs > kMostElements / matrix.inputs)
    return;
  const std::vector<std::int32_t> order = packed_order(matrix);
  const kernels::BlockFormat* format = format_of(matrix);
  const LoadedMatrix loaded = matrix.load();
  std::vector<float> values(static_cast<std::size_t>(matrix.outputs * matrix.inputs));
  to_values(matrix, loaded, 0, matrix.outputs, values.data());
  if (format == nullptr) return;
  std::vector<std::uint8_t> blocks(
      static_cast<std::size_t>(matrix.outputs * format->row_blocks(matrix.inputs) * format->bytes));
  to_blocks(matrix, loaded, *format, order, 0, matrix.outputs, blocks.data());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t end = input.find('\0');
  if (end == std::string_view::npos) return 0;
  try {
    const QuantizationConfig config =
        parse_quantization_config(parse_json(input.substr(0, end), "fuzz"));
    const auto file = std::make_shared<const MemoryFile>(input.substr(end + 1));
    std::vector<CheckpointEntry> entries;
    for (const StoredTensor& tensor : file->tensors()) entries.push_back({file, &tensor});
    for (const auto& [module, parts] : quantized_modules(config, entries)) {
      try {
        read_all(read_quantized_module(config, parts));
      } catch (const Error&) {
        // One of several matrices.
      }
    }
  } catch (const Error&) {
    // The answer to a damaged file.
  }
  return 0;
}
