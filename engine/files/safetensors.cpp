#include "engine/files/safetensors.h"

#include <algorithm>
#include <iterator>

#include "engine/base/error.h"
#include "engine/base/json.h"

namespace perilune {
namespace {

struct StoredType {
  std::string_view name;
  int bits;
  bool readable;
  DType dtype;  // what it is read as
};

constexpr StoredType kTypes[] = {
    {"F32", 32, true, DType::f32},     {"F16", 16, true, DType::f16},
    {"BF16", 16, true, DType::bf16},   {"I32", 32, true, DType::i32},
    {"I64", 64, true, DType::i64},     {"U8", 8, true, DType::u8},
    {"I8", 8, true, DType::i8},        {"BOOL", 8, true, DType::boolean},
    {"F64", 64, true, DType::f32},     {"I16", 16, false, DType::i32},
    {"U16", 16, false, DType::i32},    {"U32", 32, false, DType::i64},
    {"U64", 64, false, DType::i64},    {"C64", 64, false, DType::f32},
    {"F8_E4M3", 8, false, DType::f32}, {"F8_E5M2", 8, false, DType::f32},
    {"F8_E8M0", 8, false, DType::f32}, {"F6_E2M3", 6, false, DType::f32},
    {"F6_E3M2", 6, false, DType::f32}, {"F4", 4, false, DType::f32},
};

constexpr std::size_t kMaxStoredRank = 32;
constexpr std::size_t kMaxNameBytes = 1024;  // patterns are matched against names

Error damaged(std::string_view file, std::string problem) {
  return Error(ErrorCode::format, "load", std::string(file) + ": " + std::move(problem));
}

Error damaged_tensor(std::string_view file, std::string_view tensor, std::string problem) {
  return damaged(file, "tensor \"" + std::string(tensor) + "\" " + std::move(problem));
}

/// Bytes that a tensor of these sizes takes; nullopt when they cannot be counted or are no whole
/// number.
std::optional<std::int64_t> stored_bytes(const std::vector<std::int64_t>& sizes, int bits) {
  std::optional<std::int64_t> total = bits;
  for (const std::int64_t size : sizes) {
    total = checked_multiply(*total, size);
    if (!total) return std::nullopt;
  }
  if (*total % 8 != 0) return std::nullopt;
  return *total / 8;
}

const StoredType& known_type(const std::string& name, std::string_view file,
                             std::string_view tensor) {
  const auto* found = std::find_if(std::begin(kTypes), std::end(kTypes),
                                   [&](const StoredType& type) { return type.name == name; });
  if (found == std::end(kTypes)) {
    throw damaged_tensor(file, tensor, "has an unknown type, \"" + name.substr(0, 32) + "\"");
  }
  return *found;
}

StoredTensor parse_tensor(const std::string& name, const Json& entry, std::string_view file,
                          std::uint64_t data_begin, std::uint64_t data_bytes) {
  if (name.size() > kMaxNameBytes) {
    throw damaged(file, "a tensor's name has " + std::to_string(name.size()) + " bytes, at most " +
                            std::to_string(kMaxNameBytes) + " are allowed");
  }
  if (!entry.is_object()) {
    throw damaged_tensor(
        file, name,
        std::string("should be described by an object, not ") + Json::kind_name(entry.kind()));
  }
  StoredTensor tensor;
  tensor.name = name;
  tensor.type = entry.string("dtype");
  const StoredType& type = known_type(tensor.type, file, name);
  tensor.dtype = type.dtype;
  tensor.readable = type.readable;
  tensor.sizes = entry.integers("shape");
  if (tensor.sizes.size() > kMaxStoredRank) {
    throw damaged_tensor(file, name, "has " + std::to_string(tensor.sizes.size()) + " axes");
  }
  const auto needed = stored_bytes(tensor.sizes, type.bits);
  if (!needed) {
    throw damaged_tensor(file, name, "has impossible sizes, " + sizes_text(tensor.sizes));
  }
  const std::vector<std::int64_t> offsets = entry.integers("data_offsets");
  if (offsets.size() != 2 || offsets[0] < 0 || offsets[1] < offsets[0]) {
    throw damaged_tensor(file, name, "has impossible data_offsets, " + sizes_text(offsets));
  }
  if (static_cast<std::uint64_t>(offsets[1]) > data_bytes) {
    throw damaged_tensor(file, name,
                         "ends at byte " + std::to_string(offsets[1]) +
                             " of the data, the file has " + std::to_string(data_bytes))
        .hint("the file was cut short: copy or download it again");
  }
  if (offsets[1] - offsets[0] != *needed) {
    throw damaged_tensor(file, name,
                         tensor.type + sizes_text(tensor.sizes) + " takes " +
                             std::to_string(*needed) + " bytes, its data_offsets span " +
                             std::to_string(offsets[1] - offsets[0]));
  }
  tensor.begin = data_begin + static_cast<std::uint64_t>(offsets[0]);
  tensor.end = data_begin + static_cast<std::uint64_t>(offsets[1]);
  return tensor;
}

/// Sorted by position, tensors must follow each other without a hole or an overlap up to the end.
void check_coverage(std::vector<StoredTensor>& tensors, std::uint64_t data_begin,
                    std::uint64_t file_bytes, std::string_view file) {
  std::stable_sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  std::uint64_t expected = data_begin;
  for (const StoredTensor& tensor : tensors) {
    if (tensor.begin != expected) {
      const bool overlap = tensor.begin < expected;
      throw damaged_tensor(
          file, tensor.name,
          std::string(overlap ? "overlaps the one before it" : "leaves a hole before it") +
              ": it begins at byte " + std::to_string(tensor.begin - data_begin) +
              " of the data, expected " + std::to_string(expected - data_begin));
    }
    expected = tensor.end;
  }
  if (expected != file_bytes) {
    throw damaged(file, "the tensors end at byte " + std::to_string(expected) + ", the file at " +
                            std::to_string(file_bytes));
  }
}

std::map<std::string, std::string> parse_metadata(const Json& value, std::string_view file) {
  if (!value.is_object()) throw damaged(file, "__metadata__ is not an object");
  std::map<std::string, std::string> metadata;
  for (const auto& [key, text] : value.members()) {
    if (!text.is_string()) {
      throw damaged(file, "__metadata__: \"" + key.substr(0, 64) + "\" is not a string");
    }
    metadata[key] = text.as_string();
  }
  return metadata;
}

/// The first 8 bytes, little-endian.
std::uint64_t first_number(std::string_view bytes) {
  std::uint64_t number = 0;
  for (std::size_t i = 8; i-- > 0;) {
    number = number << 8 | static_cast<unsigned char>(bytes[i]);
  }
  return number;
}

}  // namespace

const char* safetensors_type(DType dtype) {
  for (const StoredType& type : kTypes) {
    if (type.readable && type.dtype == dtype) return type.name.data();
  }
  return "?";
}

bool looks_like_safetensors(std::string_view head) {
  return head.size() > 8 && head[8] == '{' && first_number(head) <= kMaxSafetensorsHeader;
}

std::uint64_t safetensors_header_size(std::string_view prefix, std::uint64_t file_bytes,
                                      std::string_view file) {
  if (file_bytes < 8 || prefix.size() < 8) {
    throw damaged(file, "no safetensors file: it has " + std::to_string(file_bytes) + " bytes");
  }
  const std::uint64_t size = first_number(prefix);
  if (size > kMaxSafetensorsHeader) {
    throw damaged(file, "the header claims " + std::to_string(size) + " bytes, at most " +
                            std::to_string(kMaxSafetensorsHeader) + " are allowed")
        .hint("is it a safetensors file?");
  }
  if (size > file_bytes - 8) {
    throw damaged(file, "the header claims " + std::to_string(size) + " bytes, the file has " +
                            std::to_string(file_bytes - 8) + " after the first 8")
        .hint("the file was cut short: copy or download it again");
  }
  return size;
}

SafetensorsHeader parse_safetensors_header(std::string_view json, std::uint64_t file_bytes,
                                           std::string_view file) {
  if (json.empty() || json.front() != '{') {
    throw damaged(file, "the header is no JSON object").hint("is it a safetensors file?");
  }
  const Json root = parse_json(json, file);
  const std::uint64_t data_begin = 8 + json.size();
  SafetensorsHeader header;
  for (const auto& [name, entry] : root.members()) {
    if (name == "__metadata__") {
      header.metadata = parse_metadata(entry, file);
    } else {
      header.tensors.push_back(
          parse_tensor(name, entry, file, data_begin, file_bytes - data_begin));
    }
  }
  check_coverage(header.tensors, data_begin, file_bytes, file);
  for (StoredTensor& tensor : header.tensors) {
    if (tensor.type == kStoredDouble) tensor.end -= (tensor.end - tensor.begin) / 2;
  }
  return header;
}

}  // namespace perilune
