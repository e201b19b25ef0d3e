#include "engine/text/sentencepiece/wire.h"

#include <bit>

namespace perilune {

void ProtoReader::fail(const std::string& problem) const {
  std::string text = message_;
  if (number_ != 0) text += ", field " + std::to_string(number_);
  throw ProtoError(text + ": " + problem);
}

std::uint64_t ProtoReader::varint() {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 70; shift += 7) {
    if (rest_.empty()) fail("ends inside a number");
    const auto byte = static_cast<unsigned char>(rest_.front());
    rest_.remove_prefix(1);
    if (shift == 63 && byte > 1) fail("a number has more than 64 bits");
    value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
  fail("a number has more than 64 bits");
}

std::string_view ProtoReader::take(std::uint64_t count) {
  if (count > rest_.size()) {
    fail("says " + std::to_string(count) + " bytes where " + std::to_string(rest_.size()) +
         " are left");
  }
  const std::string_view part = rest_.substr(0, static_cast<std::size_t>(count));
  rest_.remove_prefix(part.size());
  return part;
}

bool ProtoReader::next() {
  if (rest_.empty()) return false;
  number_ = 0;
  const std::uint64_t tag = varint();
  const std::uint64_t number = tag >> 3;
  if (number == 0 || number > 0x1FFFFFFF) fail("has no field number");
  number_ = static_cast<std::uint32_t>(number);
  const unsigned wire = tag & 7;
  if (wire > 5 || wire == 3 || wire == 4) fail("has an unknown wire type");
  wire_ = static_cast<Wire>(wire);
  return true;
}

void ProtoReader::expect(Wire wire) const {
  if (wire_ != wire) fail("is of another type");
}

std::string_view ProtoReader::bytes() {
  expect(Wire::length);
  return take(varint());
}

std::int64_t ProtoReader::integer(std::int64_t low, std::int64_t high) {
  expect(Wire::varint);
  const auto value = static_cast<std::int64_t>(varint());
  if (value < low || value > high) {
    fail(std::to_string(value) + " is not within " + std::to_string(low) + " to " +
         std::to_string(high));
  }
  return value;
}

bool ProtoReader::boolean() {
  return integer(0, 1) == 1;
}

float ProtoReader::float32() {
  expect(Wire::fixed32);
  const std::string_view four = take(4);
  std::uint32_t bits = 0;
  for (int i = 3; i >= 0; --i) {
    bits = bits << 8 | static_cast<unsigned char>(four[static_cast<std::size_t>(i)]);
  }
  return std::bit_cast<float>(bits);
}

void ProtoReader::skip() {
  switch (wire_) {
    case Wire::varint: varint(); break;
    case Wire::fixed64: take(8); break;
    case Wire::length: take(varint()); break;
    case Wire::fixed32: take(4); break;
  }
}

void ProtoWriter::varint(std::uint64_t value) {
  while (value >= 0x80) {
    out_ += static_cast<char>(value | 0x80);
    value >>= 7;
  }
  out_ += static_cast<char>(value);
}

void ProtoWriter::bytes(std::uint32_t number, std::string_view value) {
  varint(std::uint64_t{number} << 3 | 2);
  varint(value.size());
  out_ += value;
}

void ProtoWriter::integer(std::uint32_t number, std::uint64_t value) {
  varint(std::uint64_t{number} << 3);
  varint(value);
}

void ProtoWriter::float32(std::uint32_t number, float value) {
  varint(std::uint64_t{number} << 3 | 5);
  const auto bits = std::bit_cast<std::uint32_t>(value);
  for (int i = 0; i < 4; ++i) out_ += static_cast<char>(bits >> (8 * i));
}

}  // namespace perilune
