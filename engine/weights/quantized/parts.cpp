#include "engine/weights/quantized/parts.h"

#include <cmath>
#include <cstring>

namespace perilune {
namespace {

std::string described(const StoredTensor& tensor) {
  return tensor.type + sizes_text(tensor.sizes);
}

template <class Element>
std::vector<Element> read_all(const CheckpointEntry& entry) {
  const std::uint64_t bytes = entry.tensor->end - entry.tensor->begin;
  std::vector<Element> elements(static_cast<std::size_t>(bytes / sizeof(Element)));
  entry.file->read(*entry.tensor, 0, elements.size() * sizeof(Element), elements.data());
  return elements;
}

template <class Stored, class Element, class Convert>
std::vector<Element> converted(const CheckpointEntry& entry, const Convert& convert) {
  const std::vector<Stored> stored = read_all<Stored>(entry);
  std::vector<Element> elements;
  elements.reserve(stored.size());
  for (const Stored value : stored) elements.push_back(convert(value));
  return elements;
}

}  // namespace

const CheckpointEntry& QuantizedParts::get(const std::string& part) const {
  const auto found = parts_.find(part);
  if (found != parts_.end()) return found->second;
  std::string there;
  for (const auto& [name, entry] : parts_) there += (there.empty() ? "" : ", ") + name;
  throw Error(ErrorCode::format, "load",
              "quantized weight \"" + module_ + "\" has no part \"" + part + "\"")
      .operand("there are", there)
      .where(parts_.empty() ? "" : parts_.begin()->second.file->path())
      .hint("the file is incomplete, or config.json's quantization_config is of another one");
}

const std::vector<std::int64_t>& QuantizedParts::sizes(const std::string& part) const {
  return get(part).tensor->sizes;
}

Error QuantizedParts::wrong(const std::string& part, const std::string& problem) const {
  const CheckpointEntry& entry = get(part);
  Error error(ErrorCode::format, "load", "tensor \"" + entry.tensor->name + "\": " + problem);
  error.operand("stored", described(*entry.tensor)).where(entry.file->path());
  return error;
}

void QuantizedParts::expect(const std::string& part, std::initializer_list<DType> dtypes,
                            const std::vector<std::int64_t>& sizes) const {
  const StoredTensor& tensor = *get(part).tensor;
  bool known = false;
  std::string wanted;
  for (const DType dtype : dtypes) {
    known = known || (tensor.readable && tensor.dtype == dtype);
    wanted += (wanted.empty() ? "" : " or ") + std::string(dtype_name(dtype));
  }
  if (!known) throw wrong(part, "expected " + wanted);
  bool fits = tensor.sizes.size() == sizes.size();
  for (std::size_t i = 0; fits && i < sizes.size(); ++i) {
    fits = sizes[i] < 0 || tensor.sizes[i] == sizes[i];
  }
  if (fits) return;
  std::string text;
  for (const std::int64_t size : sizes) {
    text += (text.empty() ? "[" : ", ") + (size < 0 ? "any" : std::to_string(size));
  }
  throw wrong(part, "expected sizes " + (text.empty() ? "[" : text) + "]");
}

std::vector<float> QuantizedParts::floats(const std::string& part) const {
  const CheckpointEntry& entry = get(part);
  require_readable(*entry.tensor, entry.file->path());
  std::vector<float> values;
  switch (entry.tensor->dtype) {
    case DType::f32: values = read_all<float>(entry); break;
    case DType::f16: values = converted<std::uint16_t, float>(entry, f16_to_f32); break;
    case DType::bf16: values = converted<std::uint16_t, float>(entry, bf16_to_f32); break;
    default: throw wrong(part, "expected floats");
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      throw wrong(part, "entry " + std::to_string(i + 1) + " of " + std::to_string(values.size()) +
                            (std::isnan(values[i]) ? " is NaN" : " is infinite"));
    }
  }
  return values;
}

std::vector<std::int32_t> QuantizedParts::integers(const std::string& part) const {
  const CheckpointEntry& entry = get(part);
  require_readable(*entry.tensor, entry.file->path());
  const auto narrow = [](auto value) { return static_cast<std::int32_t>(value); };
  switch (entry.tensor->dtype) {
    case DType::i32: return read_all<std::int32_t>(entry);
    case DType::i64: return converted<std::int64_t, std::int32_t>(entry, narrow);
    case DType::i8: return converted<std::int8_t, std::int32_t>(entry, narrow);
    case DType::u8: return converted<std::uint8_t, std::int32_t>(entry, narrow);
    default: throw wrong(part, "expected integers");
  }
}

std::vector<std::uint8_t> QuantizedParts::bytes(const std::string& part) const {
  const CheckpointEntry& entry = get(part);
  require_readable(*entry.tensor, entry.file->path());
  return read_all<std::uint8_t>(entry);
}

bool fit_f16(const std::vector<float>& values) {
  for (const float value : values) {
    if (f16_to_f32(f32_to_f16(value)) != value) return false;
  }
  return true;
}

}  // namespace perilune
