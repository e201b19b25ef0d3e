#include "engine/files/gguf/writer.h"

#include <bit>

#include "engine/base/error.h"
#include "engine/base/file.h"

namespace perilune {
namespace {

constexpr std::uint64_t kAlignment = 32;  // the specification's, where the metadata names no other
constexpr std::uint32_t kLastType = 64;   // no published number reaches it

/// `bytes` of them, lowest first.
void append_number(std::string& to, std::uint64_t value, std::uint64_t bytes) {
  for (std::uint64_t i = 0; i < bytes; ++i)
    to.push_back(static_cast<char>(value >> (8 * i) & 0xff));
}

void append_type(std::string& to, GgufType type) {
  append_number(to, static_cast<std::uint64_t>(type), 4);
}

void append_text(std::string& to, std::string_view text) {
  append_number(to, text.size(), 8);
  to.append(text);
}

void append_value(std::string& to, GgufType type, double value) {
  if (type == GgufType::f32) {
    append_number(to, std::bit_cast<std::uint32_t>(static_cast<float>(value)), 4);
  } else if (type == GgufType::f64) {
    append_number(to, std::bit_cast<std::uint64_t>(value), 8);
  } else {
    append_number(to, static_cast<std::uint64_t>(static_cast<std::int64_t>(value)),
                  gguf_type_bytes(type));
  }
}

std::uint64_t padding(std::uint64_t bytes) {
  return (kAlignment - bytes % kAlignment) % kAlignment;
}

std::string head_of(const std::vector<GgufPair>& keys,
                    const std::vector<GgufTensorToWrite>& tensors) {
  std::string head = "GGUF";
  append_number(head, 3, 4);
  append_number(head, tensors.size(), 8);
  append_number(head, keys.size(), 8);
  for (const GgufPair& pair : keys) {
    append_text(head, pair.key);
    head += pair.bytes;
  }
  std::uint64_t begin = 0;
  for (const GgufTensorToWrite& tensor : tensors) {
    append_text(head, tensor.name);
    append_number(head, tensor.sizes.size(), 4);
    for (std::size_t i = tensor.sizes.size(); i-- > 0;) {
      append_number(head, static_cast<std::uint64_t>(tensor.sizes[i]), 8);
    }
    append_number(head, tensor.type->number, 4);
    append_number(head, begin, 8);
    begin += tensor.bytes + padding(tensor.bytes);
  }
  head.append(padding(head.size()), '\0');
  return head;
}

}  // namespace

GgufPair GgufPair::number(std::string key, GgufType type, double value) {
  GgufPair pair{std::move(key), {}};
  append_type(pair.bytes, type);
  append_value(pair.bytes, type, value);
  return pair;
}

GgufPair GgufPair::text(std::string key, std::string_view value) {
  GgufPair pair{std::move(key), {}};
  append_type(pair.bytes, GgufType::string);
  append_text(pair.bytes, value);
  return pair;
}

GgufPair GgufPair::texts(std::string key, const std::vector<std::string>& values) {
  GgufPair pair{std::move(key), {}};
  append_type(pair.bytes, GgufType::array);
  append_type(pair.bytes, GgufType::string);
  append_number(pair.bytes, values.size(), 8);
  for (const std::string& value : values) append_text(pair.bytes, value);
  return pair;
}

GgufPair GgufPair::numbers(std::string key, GgufType type, const std::vector<double>& values) {
  GgufPair pair{std::move(key), {}};
  append_type(pair.bytes, GgufType::array);
  append_type(pair.bytes, type);
  append_number(pair.bytes, values.size(), 8);
  for (const double value : values) append_value(pair.bytes, type, value);
  return pair;
}

const GgufTensorType* find_gguf_tensor_type(std::string_view name) {
  for (std::uint32_t number = 0; number < kLastType; ++number) {
    const GgufTensorType* type = gguf_tensor_type(number);
    if (type != nullptr && name == type->name) return type;
  }
  return nullptr;
}

void write_gguf(const std::string& path, const std::vector<GgufPair>& keys,
                const std::vector<GgufTensorToWrite>& tensors) {
  const std::string head = head_of(keys, tensors);
  const std::string zeros(kAlignment, '\0');
  PendingFile file(path, "save");
  file.write(head.data(), head.size());
  for (const GgufTensorToWrite& tensor : tensors) {
    std::uint64_t written = 0;
    tensor.write([&](const void* bytes, std::size_t size) {
      if (size != 0) file.write(bytes, size);
      written += size;
    });
    if (written != tensor.bytes) {
      throw Error(ErrorCode::internal, "save",
                  "tensor \"" + tensor.name + "\" has " + std::to_string(tensor.bytes) +
                      " bytes, " + std::to_string(written) + " came");
    }
    if (padding(written) != 0) file.write(zeros.data(), padding(written));
  }
  file.keep();
}

}  // namespace perilune
