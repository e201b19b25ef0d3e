// Plain data on its way between ranks of one program on machines of one kind.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "engine/base/error.h"

namespace perilune {

class MessageWriter {
 public:
  template <class Number>
  void put(Number value) {
    static_assert(std::is_trivially_copyable_v<Number>);
    put_bytes(&value, sizeof value);
  }
  template <class Number>
  void put_list(std::span<const Number> values) {
    put(static_cast<std::uint64_t>(values.size()));
    put_bytes(values.data(), values.size() * sizeof(Number));
  }
  void put_text(std::string_view text) { put_list(std::span<const char>(text)); }
  void put_bytes(const void* data, std::size_t bytes) {
    const auto* from = static_cast<const std::uint8_t*>(data);
    bytes_.insert(bytes_.end(), from, from + bytes);
  }
  const std::vector<std::uint8_t>& bytes() const { return bytes_; }
  void clear() { bytes_.clear(); }

 private:
  std::vector<std::uint8_t> bytes_;
};

/// Reads what a MessageWriter wrote, in its order. Throws Error(internal) beyond the end.
class MessageReader {
 public:
  explicit MessageReader(std::span<const std::uint8_t> bytes) : rest_(bytes) {}
  template <class Number>
  Number get() {
    Number value;
    get_bytes(&value, sizeof value);
    return value;
  }
  template <class Number>
  std::vector<Number> get_list() {
    const auto count = get<std::uint64_t>();
    expect(count <= rest_.size() / sizeof(Number));
    std::vector<Number> values(static_cast<std::size_t>(count));
    get_bytes(values.data(), values.size() * sizeof(Number));
    return values;
  }
  std::string get_text() {
    const std::vector<char> text = get_list<char>();
    return {text.begin(), text.end()};
  }
  void get_bytes(void* to, std::size_t bytes) {
    expect(bytes <= rest_.size());
    if (bytes != 0) std::memcpy(to, rest_.data(), bytes);
    rest_ = rest_.subspan(bytes);
  }

 private:
  static void expect(bool good) {
    if (!good) throw Error(ErrorCode::internal, "ranks", "a message that is cut short");
  }
  std::span<const std::uint8_t> rest_;
};

}  // namespace perilune
