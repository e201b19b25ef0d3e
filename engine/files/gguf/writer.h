// Writing GGUF files, version 3.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/files/byte_sink.h"
#include "engine/files/gguf/head.h"

namespace perilune {

/// A key of the metadata with its value.
struct GgufPair {
  std::string key;
  std::string bytes;  // type and value, as the file has them

  static GgufPair number(std::string key, GgufType type, double value);
  static GgufPair text(std::string key, std::string_view value);
  static GgufPair texts(std::string key, const std::vector<std::string>& values);
  /// `type`: of the numbers.
  static GgufPair numbers(std::string key, GgufType type, const std::vector<double>& values);
};

/// A tensor that is made while it is written.
struct GgufTensorToWrite {
  std::string name;
  const GgufTensorType* type = nullptr;
  std::vector<std::int64_t> sizes;  // slowest axis first
  std::uint64_t bytes = 0;
  std::function<void(const ByteSink& sink)> write;
};

/// The type of that name ("Q4_K", "BF16"), or null.
const GgufTensorType* find_gguf_tensor_type(std::string_view name);

/// Writes the file through a temporary one and rename; a failure leaves the old one. Throws
/// Error(file).
void write_gguf(const std::string& path, const std::vector<GgufPair>& keys,
                const std::vector<GgufTensorToWrite>& tensors);

}  // namespace perilune
