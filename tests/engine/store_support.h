// Files that tests make: safetensors written by hand.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "engine/base/error.h"
#include "tests/support.h"

namespace perilune_test {

inline std::string read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// A file with this header and data, right or wrong.
inline std::string raw_safetensors(const std::string& json, const std::string& data) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(json.size() >> (8 * i) & 0xff);
  return bytes + json + data;
}

/// The error that `action` throws.
struct Caught {
  bool thrown = false;
  perilune::ErrorCode code = perilune::ErrorCode::internal;
  std::string message;
  bool has(const std::string& part) const { return message.find(part) != std::string::npos; }
};

inline Caught caught(const std::function<void()>& action) {
  try {
    action();
  } catch (const perilune::Error& error) {
    return {true, error.code(), error.what()};
  }
  return {};
}

/// The folder of reference values, or "".
inline std::string golden_folder() {
  for (const char* path : {"../shared/golden", "../../shared/golden"}) {
    if (std::filesystem::is_directory(path)) return path;
  }
  return "";
}

}  // namespace perilune_test
