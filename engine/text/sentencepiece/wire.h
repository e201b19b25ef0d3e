// The protocol-buffer wire format, as far as model files use it: varints, fixed widths and lengths.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace perilune {

/// Something in a message that its format does not allow; the reader of the file turns it into an
/// Error that names the file.
struct ProtoError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Walks the fields of one message. Every length is checked against what is there; groups, which
/// nobody writes any more, are refused. Each field is taken by exactly one of the getters or
/// skip().
class ProtoReader {
 public:
  /// `message` names it in errors. `data` must outlive the reader.
  ProtoReader(std::string_view data, std::string message)
      : rest_(data), message_(std::move(message)) {}

  /// Goes to the next field; false at the end of the message. Throws ProtoError.
  bool next();
  std::uint32_t number() const { return number_; }

  /// The field's value. Each throws ProtoError where the wire type is another, the bytes are not
  /// there or (integer) the value is outside [low, high].
  std::string_view bytes();
  std::int64_t integer(std::int64_t low, std::int64_t high);
  bool boolean();
  float float32();
  void skip();

 private:
  enum class Wire { varint = 0, fixed64 = 1, length = 2, fixed32 = 5 };
  [[noreturn]] void fail(const std::string& problem) const;
  void expect(Wire wire) const;
  std::uint64_t varint();
  std::string_view take(std::uint64_t count);

  std::string_view rest_;
  std::string message_;
  std::uint32_t number_ = 0;
  Wire wire_ = Wire::varint;
};

/// Appends fields to a message.
class ProtoWriter {
 public:
  void bytes(std::uint32_t number, std::string_view value);
  void integer(std::uint32_t number, std::uint64_t value);
  void float32(std::uint32_t number, float value);
  const std::string& text() const { return out_; }
  std::string take() { return std::move(out_); }

 private:
  void varint(std::uint64_t value);
  std::string out_;
};

}  // namespace perilune
