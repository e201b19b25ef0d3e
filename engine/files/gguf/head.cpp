// Access to what a GGUF file holds.
#include "engine/files/gguf/head.h"

#include <bit>
#include <cstring>

#include "engine/base/error.h"
#include "engine/base/input_file.h"

namespace perilune {
namespace {

std::uint64_t little_endian(const std::string& bytes, std::uint64_t at, int size) {
  std::uint64_t value = 0;
  for (int i = size - 1; i >= 0; --i) {
    value = value << 8 | static_cast<unsigned char>(bytes[at + static_cast<unsigned>(i)]);
  }
  return value;
}

}  // namespace

GgufFile::~GgufFile() = default;

const GgufFile::Value* GgufFile::find(std::string_view key) const {
  const auto found = key_index_.find(key);
  return found == key_index_.end() ? nullptr : &values_[found->second];
}

void GgufFile::fail_type(std::string_view key, const char* expected) const {
  throw Error(ErrorCode::format, "load",
              path_ + ": key \"" + std::string(key) + "\": expected " + expected + ", got " +
                  describe(key));
}

const GgufFile::Value& GgufFile::get(std::string_view key, const char* expected) const {
  const Value* value = find(key);
  if (value == nullptr) fail_type(key, expected);
  return *value;
}

std::string GgufFile::describe(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) return "no such key";
  const std::string name = gguf_type_name(value->type);
  if (value->type == GgufType::array) {
    return name + " of " + std::to_string(value->count) + " " + gguf_type_name(value->element);
  }
  if (value->type == GgufType::string) {
    return name + " of " + std::to_string(value->bytes - 8) + " bytes";
  }
  if (value->type == GgufType::boolean) return head_[value->first] != 0 ? "true" : "false";
  if (const auto integer = read_integer(value->type, value->first)) {
    return name + " " + std::to_string(*integer);
  }
  if (value->type == GgufType::u64) return name + " beyond 2^63";
  return name + " " + std::to_string(read_number(value->type, value->first).value_or(0));
}

std::optional<std::int64_t> GgufFile::read_integer(GgufType type, std::uint64_t at) const {
  switch (type) {
    case GgufType::u8: return static_cast<std::uint8_t>(little_endian(head_, at, 1));
    case GgufType::i8: return static_cast<std::int8_t>(little_endian(head_, at, 1));
    case GgufType::u16: return static_cast<std::uint16_t>(little_endian(head_, at, 2));
    case GgufType::i16: return static_cast<std::int16_t>(little_endian(head_, at, 2));
    case GgufType::u32: return static_cast<std::uint32_t>(little_endian(head_, at, 4));
    case GgufType::i32: return static_cast<std::int32_t>(little_endian(head_, at, 4));
    case GgufType::u64: {
      const std::uint64_t value = little_endian(head_, at, 8);
      if (value >> 63 != 0) return std::nullopt;
      return static_cast<std::int64_t>(value);
    }
    case GgufType::i64: return static_cast<std::int64_t>(little_endian(head_, at, 8));
    default: return std::nullopt;
  }
}

std::optional<double> GgufFile::read_number(GgufType type, std::uint64_t at) const {
  if (type == GgufType::f32) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(little_endian(head_, at, 4)));
  }
  if (type == GgufType::f64) return std::bit_cast<double>(little_endian(head_, at, 8));
  const std::optional<std::int64_t> integer = read_integer(type, at);
  if (!integer) return std::nullopt;
  return static_cast<double>(*integer);
}

std::int64_t GgufFile::integer(std::string_view key) const {
  const Value& value = get(key, "an integer");
  const std::optional<std::int64_t> found = read_integer(value.type, value.first);
  if (!found) fail_type(key, "an integer of at most 63 bits");
  return *found;
}

double GgufFile::number(std::string_view key) const {
  const Value& value = get(key, "a number");
  const std::optional<double> found = read_number(value.type, value.first);
  if (!found) fail_type(key, "a number");
  return *found;
}

bool GgufFile::boolean(std::string_view key) const {
  const Value& value = get(key, "a boolean");
  if (value.type != GgufType::boolean) fail_type(key, "a boolean");
  return head_[value.first] != 0;
}

std::string_view GgufFile::string(std::string_view key) const {
  const Value& value = get(key, "a string");
  if (value.type != GgufType::string) fail_type(key, "a string");
  return std::string_view(head_).substr(value.first + 8, value.bytes - 8);
}

std::optional<std::int64_t> GgufFile::find_integer(std::string_view key) const {
  if (!has(key)) return std::nullopt;
  return integer(key);
}

std::optional<double> GgufFile::find_number(std::string_view key) const {
  if (!has(key)) return std::nullopt;
  return number(key);
}

std::optional<bool> GgufFile::find_boolean(std::string_view key) const {
  if (!has(key)) return std::nullopt;
  return boolean(key);
}

std::optional<std::string_view> GgufFile::find_string(std::string_view key) const {
  if (!has(key)) return std::nullopt;
  return string(key);
}

std::vector<std::string_view> GgufFile::strings(std::string_view key) const {
  const Value& value = get(key, "an array of strings");
  if (value.type != GgufType::array || value.element != GgufType::string) {
    fail_type(key, "an array of strings");
  }
  std::vector<std::string_view> all;
  all.reserve(value.count);
  std::uint64_t at = value.first;
  for (std::uint64_t i = 0; i < value.count; ++i) {
    const std::uint64_t length = little_endian(head_, at, 8);
    all.push_back(std::string_view(head_).substr(at + 8, length));
    at += 8 + length;
  }
  return all;
}

std::vector<std::int64_t> GgufFile::integers(std::string_view key) const {
  const Value& value = get(key, "an array of integers");
  const std::uint64_t stride = gguf_type_bytes(value.element);
  const bool real = value.element == GgufType::f32 || value.element == GgufType::f64;
  if (value.type != GgufType::array || stride == 0 || real) fail_type(key, "an array of integers");
  std::vector<std::int64_t> all;
  all.reserve(value.count);
  for (std::uint64_t i = 0; i < value.count; ++i) {
    const auto found = read_integer(value.element, value.first + i * stride);
    if (!found) fail_type(key, "an array of integers of at most 63 bits");
    all.push_back(*found);
  }
  return all;
}

std::vector<float> GgufFile::numbers(std::string_view key) const {
  const Value& value = get(key, "an array of numbers");
  const std::uint64_t stride = gguf_type_bytes(value.element);
  if (value.type != GgufType::array || stride == 0) fail_type(key, "an array of numbers");
  std::vector<float> all;
  all.reserve(value.count);
  for (std::uint64_t i = 0; i < value.count; ++i) {
    const auto found = read_number(value.element, value.first + i * stride);
    if (!found) fail_type(key, "an array of numbers of at most 63 bits");
    all.push_back(static_cast<float>(*found));
  }
  return all;
}

std::string_view GgufFile::bytes(std::string_view key) const {
  const Value& value = get(key, "an array of bytes");
  if (value.type != GgufType::array ||
      (value.element != GgufType::u8 && value.element != GgufType::i8)) {
    fail_type(key, "an array of bytes");
  }
  return std::string_view(head_).substr(value.first, value.bytes);
}

const GgufTensor* GgufFile::find_tensor(std::string_view name) const {
  const auto found = tensor_index_.find(name);
  return found == tensor_index_.end() ? nullptr : &tensors_[found->second];
}

std::string GgufFile::value_bytes(std::string_view key) const {
  const Value& value = get(key, "a value");
  std::string bytes;
  const auto append = [&](std::uint64_t number, int count) {
    for (int i = 0; i < count; ++i) bytes.push_back(static_cast<char>(number >> (8 * i) & 0xff));
  };
  append(static_cast<std::uint64_t>(value.type), 4);
  if (value.type == GgufType::array) {
    append(static_cast<std::uint64_t>(value.element), 4);
    append(value.count, 8);
  }
  return bytes + head_.substr(value.first, value.bytes);
}

void GgufFile::read(const GgufTensor& tensor, std::uint64_t begin, std::size_t size,
                    void* to) const {
  if (tensor.type == nullptr) {
    throw Error(ErrorCode::unsupported, "load",
                path_ + ": tensor " + perilune::describe(tensor) +
                    " is stored in a type that is not known");
  }
  const std::uint64_t length = tensor.end - tensor.begin;
  if (begin > length || size > length - begin || tensor.end > size_) {
    throw Error(
        ErrorCode::internal, "load",
        path_ + ": bytes outside of tensor " + perilune::describe(tensor) + " were asked for");
  }
  const std::uint64_t first = tensor.begin + begin;
  if (file_) {
    file_->read(first, size, to);
  } else if (size != 0) {
    std::memcpy(to, head_.data() + first, size);
  }
}

const char* GgufFile::mapped() const {
  return file_ ? file_->mapped() : nullptr;
}

}  // namespace perilune
