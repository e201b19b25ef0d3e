#include "engine/files/gguf/tensors.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <unordered_map>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/files/gguf/dequantize.h"
#include "engine/files/stored_bytes.h"

namespace perilune {
namespace {

constexpr std::size_t kChunk = std::size_t{1} << 16;  // bytes of values decoded at a time

std::optional<DType> plain_dtype(std::string_view type) {
  constexpr std::pair<std::string_view, DType> kPlain[] = {
      {"F32", DType::f32}, {"F16", DType::f16}, {"BF16", DType::bf16},
      {"I8", DType::i8},   {"I32", DType::i32}, {"I64", DType::i64}};
  for (const auto& [name, dtype] : kPlain) {
    if (name == type) return dtype;
  }
  return std::nullopt;
}

/// Elements of stored types that tensors do not have, as those they have.
void widen(const GgufTensorType& type, const char* from, std::size_t count, char* to) {
  if (type.name == std::string_view("F64")) {
    round_doubles(from, count, to);
    return;
  }
  for (std::size_t i = 0; i < count; ++i) {
    std::int16_t value = 0;
    std::memcpy(&value, from + i * sizeof value, sizeof value);
    const std::int32_t wide = value;
    std::memcpy(to + i * sizeof wide, &wide, sizeof wide);
  }
}

StoredTensor stored_tensor(const GgufTensor& tensor) {
  StoredTensor stored;
  stored.name = tensor.name;
  stored.sizes = tensor.sizes;
  stored.begin = tensor.begin;
  stored.end = tensor.end;
  stored.readable = false;
  stored.type = "type " + std::to_string(tensor.type_number);
  if (tensor.type == nullptr) return stored;
  const GgufTensorType& type = *tensor.type;
  stored.type = type.name;
  stored.readable = true;
  if (const auto dtype = plain_dtype(type.name)) {
    stored.dtype = *dtype;
    return stored;
  }
  stored.format = kernels::find_block_format(type.name);
  const bool short_integer = stored.type == "I16";
  stored.readable = short_integer || stored.type == "F64" || is_quantized(type);
  stored.dtype = short_integer ? DType::i32 : DType::f32;
  // At most 256 values for 50 bytes that are in the file: no overflow.
  stored.end = tensor.begin + (tensor.end - tensor.begin) / type.bytes * type.block * 4;
  return stored;
}

class GgufTensors final : public TensorFile {
 public:
  GgufTensors(const std::string& path, bool map);

  const std::string& path() const override { return file_->path(); }
  const std::vector<StoredTensor>& tensors() const override { return tensors_; }
  const std::map<std::string, std::string>& metadata() const override { return metadata_; }
  const StoredTensor* find(std::string_view name) const override {
    const auto found = index_.find(name);
    return found == index_.end() ? nullptr : &tensors_[found->second];
  }
  const void* mapped(const StoredTensor& tensor) const override;
  void read(const StoredTensor& tensor, std::uint64_t begin, std::size_t size,
            void* to) const override;
  void read_blocks(const StoredTensor& tensor, std::uint64_t first, std::size_t count,
                   void* to) const override;

 private:
  const GgufTensor& source(const StoredTensor& tensor) const;
  void read_decoded(const GgufTensor& tensor, std::uint64_t begin, std::size_t size,
                    char* to) const;

  std::shared_ptr<const GgufFile> file_;
  std::vector<StoredTensor> tensors_;
  std::unordered_map<std::string_view, std::size_t> index_;  // views of tensors_' names
  std::map<std::string, std::string> metadata_;
};

GgufTensors::GgufTensors(const std::string& path, bool map) : file_(GgufFile::open(path, map)) {
  for (const GgufTensor& tensor : file_->tensors()) tensors_.push_back(stored_tensor(tensor));
  for (std::size_t i = 0; i < tensors_.size(); ++i) index_[tensors_[i].name] = i;
  for (const std::string& key : file_->keys()) {
    const std::string description = file_->describe(key);
    metadata_[key] =
        description.starts_with("string") ? std::string(file_->string(key)) : description;
  }
}

const GgufTensor& GgufTensors::source(const StoredTensor& tensor) const {
  return file_->tensors()[index_.at(tensor.name)];
}

const void* GgufTensors::mapped(const StoredTensor& tensor) const {
  const char* mapping = plain_dtype(tensor.type) ? file_->mapped() : nullptr;
  return mapping == nullptr ? nullptr : mapping + tensor.begin;
}

void GgufTensors::read_decoded(const GgufTensor& tensor, std::uint64_t begin, std::size_t size,
                               char* to) const {
  const GgufTensorType& type = *tensor.type;
  const std::uint64_t block_bytes = std::uint64_t{type.block} * 4;  // of values
  const std::uint64_t end = begin + size;
  const std::uint64_t last = (end + block_bytes - 1) / block_bytes;
  const std::uint64_t step = std::max<std::uint64_t>(1, kChunk / block_bytes);
  const bool quantized = is_quantized(type);
  std::vector<char> raw(step * type.bytes);
  std::vector<float> values(step * type.block);
  for (std::uint64_t block = begin / block_bytes; block < last; block += step) {
    const auto count = static_cast<std::size_t>(std::min(step, last - block));
    file_->read(tensor, block * type.bytes, count * type.bytes, raw.data());
    if (quantized) {
      dequantize(type, raw.data(), count, values.data());
    } else {
      widen(type, raw.data(), count, reinterpret_cast<char*>(values.data()));
    }
    const std::uint64_t first = block * block_bytes;
    const std::uint64_t from = std::max(first, begin);
    const std::uint64_t until = std::min(first + count * block_bytes, end);
    std::memcpy(to + (from - begin), reinterpret_cast<const char*>(values.data()) + (from - first),
                until - from);
  }
}

void GgufTensors::read(const StoredTensor& tensor, std::uint64_t begin, std::size_t size,
                       void* to) const {
  require_readable(tensor, path());
  const std::uint64_t length = tensor.end - tensor.begin;
  if (begin > length || size > length - begin) {
    throw Error(ErrorCode::internal, "load",
                path() + ": bytes outside of tensor \"" + tensor.name + "\" were asked for");
  }
  if (size == 0) return;
  if (plain_dtype(tensor.type)) {
    file_->read(source(tensor), begin, size, to);
  } else {
    read_decoded(source(tensor), begin, size, static_cast<char*>(to));
  }
}

void GgufTensors::read_blocks(const StoredTensor& tensor, std::uint64_t first, std::size_t count,
                              void* to) const {
  const GgufTensor& stored = source(tensor);
  const std::uint64_t bytes = stored.type->bytes;
  const std::uint64_t blocks = (stored.end - stored.begin) / bytes;
  if (tensor.format == nullptr || first > blocks || count > blocks - first) {
    throw Error(ErrorCode::internal, "load",
                path() + ": blocks outside of tensor \"" + tensor.name + "\" were asked for");
  }
  if (count != 0) file_->read(stored, first * bytes, count * bytes, to);
}

}  // namespace

bool is_gguf_file(const std::string& path) {
  return head_of_file(path, 4) == "GGUF";
}

std::shared_ptr<const TensorFile> open_gguf_tensors(const std::string& path, bool map) {
  return std::make_shared<GgufTensors>(path, map);
}

}  // namespace perilune
