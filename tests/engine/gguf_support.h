// GGUF files made by hand, right or wrong.
#pragma once

#include <bit>
#include <cstdint>
#include <string>
#include <vector>

namespace perilune_test {

inline std::string little_endian(std::uint64_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xFF);
  return out;
}
inline std::string u32_bytes(std::uint64_t value) {
  return little_endian(value, 4);
}
inline std::string u64_bytes(std::uint64_t value) {
  return little_endian(value, 8);
}
inline std::string f32_bytes(float value) {
  return u32_bytes(std::bit_cast<std::uint32_t>(value));
}
inline std::string gguf_string(const std::string& text) {
  return u64_bytes(text.size()) + text;
}

/// Collects keys and tensors; build() puts the file together.
class GgufBuilder {
 public:
  using Self = GgufBuilder&;
  std::uint32_t version = 3;
  std::string magic = "GGUF", data;
  std::uint64_t more_keys = 0, more_tensors = 0;  // claimed and not there
  std::size_t alignment = 32;

  /// `type` as in the file, `payload` as it stands there.
  Self raw(const std::string& key, std::uint32_t type, const std::string& payload) {
    pairs_ += gguf_string(key) + u32_bytes(type) + payload;
    ++keys_;
    return *this;
  }
  Self u32(const std::string& key, std::uint64_t value) { return raw(key, 4, u32_bytes(value)); }
  Self f32(const std::string& key, float value) { return raw(key, 6, f32_bytes(value)); }
  Self boolean(const std::string& key, bool value) {
    return raw(key, 7, std::string(1, value ? '\1' : '\0'));
  }
  Self string(const std::string& key, const std::string& value) {
    return raw(key, 8, gguf_string(value));
  }
  Self strings(const std::string& key, const std::vector<std::string>& values) {
    std::string all;
    for (const std::string& value : values) all += gguf_string(value);
    return array(key, 8, values.size(), all);
  }
  Self f32s(const std::string& key, const std::vector<float>& values) {
    std::string all;
    for (const float value : values) all += f32_bytes(value);
    return array(key, 6, values.size(), all);
  }
  Self i32s(const std::string& key, const std::vector<int>& values) {
    std::string all;
    for (const int value : values) all += u32_bytes(static_cast<std::uint32_t>(value));
    return array(key, 5, values.size(), all);
  }
  Self bytes(const std::string& key, const std::string& value) {
    return array(key, 0, value.size(), value);
  }
  Self array(const std::string& key, std::uint32_t element, std::uint64_t count,
             const std::string& payload) {
    return raw(key, 9, u32_bytes(element) + u64_bytes(count) + payload);
  }
  /// `sizes` in the file's order, fastest first; `offset` from the start of the data.
  Self tensor(const std::string& name, const std::vector<std::uint64_t>& sizes, std::uint32_t type,
              std::uint64_t offset) {
    tensors_ += gguf_string(name) + u32_bytes(sizes.size());
    for (const std::uint64_t size : sizes) tensors_ += u64_bytes(size);
    tensors_ += u32_bytes(type) + u64_bytes(offset);
    ++count_;
    return *this;
  }
  std::string build() const {
    std::string file = magic + u32_bytes(version) + u64_bytes(count_ + more_tensors) +
                       u64_bytes(keys_ + more_keys) + pairs_ + tensors_;
    if (count_ != 0) file.resize((file.size() + alignment - 1) / alignment * alignment, '\0');
    return file + data;
  }

 private:
  std::string pairs_, tensors_;
  std::uint64_t keys_ = 0, count_ = 0;
};

}  // namespace perilune_test
