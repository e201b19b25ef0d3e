#include "engine/files/whisper/part_file.h"

#include <algorithm>
#include <cstring>

#include "engine/base/error.h"
#include "engine/files/gguf/dequantize.h"

namespace perilune {

namespace {

constexpr std::size_t kChunk = std::size_t{1} << 16;  // bytes of values decoded at a time
constexpr std::int64_t kMostElements = std::int64_t{1} << 40;

bool is_plain(const StoredPart& part) {
  const std::string_view name = part.type->name;
  return part.scales.empty() && (name == "F32" || name == "F16" || name == "BF16" || name == "I32");
}

DType plain_dtype(std::string_view name) {
  return name == "F32"    ? DType::f32
         : name == "F16"  ? DType::f16
         : name == "BF16" ? DType::bf16
                          : DType::i32;
}

/// int8 or int16 as floats, from element `first` of the tensor on.
void unscale(const StoredPart& part, const char* raw, std::size_t count, std::uint64_t first,
             std::uint64_t row, float* to) {
  const bool wide = part.type->bytes == 2;
  for (std::size_t i = 0; i < count; ++i) {
    std::int16_t value = 0;
    if (wide) {
      std::memcpy(&value, raw + 2 * i, 2);
    } else {
      const int byte = static_cast<unsigned char>(raw[i]);
      value = static_cast<std::int16_t>(byte < 128 ? byte : byte - 256);
    }
    const float scale =
        part.scales.empty() ? 1.0F : part.scales[part.scales.size() == 1 ? 0 : (first + i) / row];
    to[i] = static_cast<float>(value) / scale;
  }
}

}  // namespace

std::optional<std::int64_t> element_count(const std::vector<std::int64_t>& sizes) {
  std::int64_t count = 1;
  for (const std::int64_t size : sizes) {
    const auto product = size < 1 ? std::nullopt : checked_multiply(count, size);
    if (!product || *product > kMostElements) return std::nullopt;
    count = *product;
  }
  return count;
}

HeadReader::HeadReader(const std::string& path)
    : file_(std::make_shared<InputFile>(path)), size_(file_->size()) {}

void HeadReader::fail(const std::string& problem) const {
  throw Error(ErrorCode::format, "load", path() + ": " + problem);
}

void HeadReader::read(void* to, std::size_t bytes) {
  if (bytes > left()) {
    fail("is cut short: " + std::to_string(bytes) + " bytes are wanted at byte " +
         std::to_string(at_) + ", it has " + std::to_string(size_));
  }
  file_->read(at_, bytes, to);
  at_ += bytes;
}

void HeadReader::skip(std::uint64_t bytes) {
  if (bytes > left()) {
    fail("is cut short: " + std::to_string(bytes) + " bytes are wanted at byte " +
         std::to_string(at_) + ", it has " + std::to_string(size_));
  }
  at_ += bytes;
}

std::string HeadReader::text(std::size_t bytes) {
  if (bytes > left()) skip(bytes);  // says what is missing before room is made
  std::string text(bytes, '\0');
  read(text.data(), bytes);
  return text;
}

void HeadReader::read_at(std::uint64_t begin, std::size_t bytes, void* to) const {
  file_->read(begin, bytes, to);
}

void PartFile::add(const std::string& name, std::vector<std::int64_t> sizes, StoredPart part) {
  const auto count = static_cast<std::uint64_t>(element_count(sizes).value_or(0));
  StoredTensor tensor;
  tensor.name = name;
  tensor.sizes = std::move(sizes);
  tensor.type = part.type->name;
  if (is_plain(part)) {
    tensor.dtype = plain_dtype(part.type->name);
  } else if (part.scales.empty()) {
    tensor.format = kernels::find_block_format(part.type->name);
  }
  tensor.begin = part.begin;
  tensor.end = part.begin + count * dtype_size(tensor.dtype);
  if (!index_.emplace(name, tensors_.size()).second) {
    throw Error(ErrorCode::format, "load", path() + ": tensor \"" + name + "\" is there twice");
  }
  tensors_.push_back(std::move(tensor));
  parts_.push_back(std::move(part));
}

const StoredTensor* PartFile::find(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

const StoredPart& PartFile::part_of(const StoredTensor& tensor) const {
  return parts_[index_.at(tensor.name)];
}

void PartFile::read(const StoredTensor& tensor, std::uint64_t begin, std::size_t size,
                    void* to) const {
  const std::uint64_t length = tensor.end - tensor.begin;
  if (begin > length || size > length - begin) {
    throw Error(ErrorCode::internal, "load",
                path() + ": bytes outside of tensor \"" + tensor.name + "\" were asked for");
  }
  if (size == 0) return;
  const StoredPart& part = part_of(tensor);
  if (is_plain(part)) {
    file_->read(part.begin + begin, size, to);
  } else {
    read_decoded(tensor, part, begin, size, static_cast<char*>(to));
  }
}

void PartFile::read_decoded(const StoredTensor& tensor, const StoredPart& part, std::uint64_t begin,
                            std::size_t size, char* to) const {
  const GgufTensorType& type = *part.type;
  const std::uint64_t block_bytes = std::uint64_t{type.block} * sizeof(float);
  const std::uint64_t end = begin + size;
  const std::uint64_t last = (end + block_bytes - 1) / block_bytes;
  const std::uint64_t step = std::max<std::uint64_t>(1, kChunk / block_bytes);
  std::uint64_t row = 1;  // elements of one
  for (std::size_t i = 1; i < tensor.sizes.size(); ++i) {
    row *= static_cast<std::uint64_t>(tensor.sizes[i]);
  }
  std::vector<char> raw(step * type.bytes);
  std::vector<float> values(step * type.block);
  for (std::uint64_t block = begin / block_bytes; block < last; block += step) {
    const auto count = static_cast<std::size_t>(std::min(step, last - block));
    file_->read(part.begin + block * type.bytes, count * type.bytes, raw.data());
    if (is_quantized(type)) {
      dequantize(type, raw.data(), count, values.data());
    } else {
      unscale(part, raw.data(), count, block, row, values.data());
    }
    const std::uint64_t first = block * block_bytes;
    const std::uint64_t from = std::max(first, begin);
    const std::uint64_t until = std::min(first + count * block_bytes, end);
    std::memcpy(to + (from - begin), reinterpret_cast<const char*>(values.data()) + (from - first),
                until - from);
  }
}

void PartFile::read_blocks(const StoredTensor& tensor, std::uint64_t first, std::size_t count,
                           void* to) const {
  const StoredPart& part = part_of(tensor);
  const std::uint64_t blocks =
      (tensor.end - tensor.begin) / (std::uint64_t{part.type->block} * sizeof(float));
  if (tensor.format == nullptr || first > blocks || count > blocks - first) {
    throw Error(ErrorCode::internal, "load",
                path() + ": blocks outside of tensor \"" + tensor.name + "\" were asked for");
  }
  if (count == 0) return;
  file_->read(part.begin + first * part.type->bytes, count * part.type->bytes, to);
}

}  // namespace perilune
