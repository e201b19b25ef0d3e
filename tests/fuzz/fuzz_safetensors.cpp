// libFuzzer: any bytes as the header of a safetensors file. The first 8 bytes of the input are the
// length field; the rest is JSON and data as that field divides it. Opening either throws Error or
// gives tensors that lie inside the file, end to end.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "engine/base/error.h"
#include "engine/files/safetensors.h"

namespace {

void check(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace perilune;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    const std::uint64_t header_size = safetensors_header_size(bytes.substr(0, 8), size, "fuzz");
    check(header_size <= size - 8);
    const std::string_view json = bytes.substr(8, header_size);
    const SafetensorsHeader header = parse_safetensors_header(json, size, "fuzz");
    std::uint64_t expected = 8 + header_size;
    for (const StoredTensor& tensor : header.tensors) {
      check(tensor.begin == expected && tensor.begin <= tensor.end && tensor.end <= size);
      // [begin, end) of doubles counts the float32 that they are read as, half of what is stored.
      const std::uint64_t stored =
          (tensor.end - tensor.begin) * (tensor.type == kStoredDouble ? 2 : 1);
      expected = tensor.begin + stored;
      check(expected <= size);
      if (!tensor.readable) continue;
      std::uint64_t elements = 1;
      for (const std::int64_t axis : tensor.sizes) elements *= static_cast<std::uint64_t>(axis);
      check(elements * dtype_size(tensor.dtype) == tensor.end - tensor.begin);
    }
    check(expected == size);
  } catch (const Error&) {
    // The answer to a damaged file.
  }
  return 0;
}
