// Reading safetensors files.
#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "engine/base/error.h"
#include "engine/base/input_file.h"
#include "engine/files/safetensors.h"
#include "engine/files/stored_bytes.h"

namespace perilune {
namespace {

constexpr std::size_t kRoundedAtOnce = std::size_t{1} << 14;  // float64 values

class SafetensorsFile final : public TensorFile {
 public:
  SafetensorsFile(const std::string& path, bool map);

  const std::string& path() const override { return file_.path(); }
  const std::vector<StoredTensor>& tensors() const override { return header_.tensors; }
  const std::map<std::string, std::string>& metadata() const override { return header_.metadata; }
  const StoredTensor* find(std::string_view name) const override {
    const auto found = index_.find(name);
    return found == index_.end() ? nullptr : &header_.tensors[found->second];
  }
  const void* mapped(const StoredTensor& tensor) const override {
    const char* mapping = tensor.type == kStoredDouble ? nullptr : file_.mapped();
    return mapping == nullptr ? nullptr : mapping + tensor.begin;
  }
  void read(const StoredTensor& tensor, std::uint64_t begin, std::size_t size,
            void* to) const override;

 private:
  /// [begin, begin + size) of the float32 values that the tensor's float64 ones are read as.
  void read_rounded(const StoredTensor& tensor, std::uint64_t begin, std::size_t size,
                    char* to) const;

  InputFile file_;
  SafetensorsHeader header_;
  std::unordered_map<std::string_view, std::size_t> index_;  // views of header_'s names
};

SafetensorsFile::SafetensorsFile(const std::string& path, bool map) : file_(path) {
  const auto bytes = static_cast<std::size_t>(file_.size());
  std::string prefix(std::min<std::size_t>(bytes, 8), '\0');
  file_.read(0, prefix.size(), prefix.data());
  const std::uint64_t size = safetensors_header_size(prefix, bytes, path);
  std::string json(size, '\0');
  file_.read(8, json.size(), json.data());
  header_ = parse_safetensors_header(json, bytes, path);
  for (std::size_t i = 0; i < header_.tensors.size(); ++i) index_[header_.tensors[i].name] = i;
  if (map) file_.map();
}

void SafetensorsFile::read(const StoredTensor& tensor, std::uint64_t begin, std::size_t size,
                           void* to) const {
  const std::uint64_t length = tensor.end - tensor.begin;
  if (begin > length || size > length - begin || tensor.end > file_.size()) {
    throw Error(ErrorCode::internal, "load",
                path() + ": bytes outside of tensor \"" + tensor.name + "\" were asked for");
  }
  if (size == 0) return;
  if (tensor.type == kStoredDouble) {
    read_rounded(tensor, begin, size, static_cast<char*>(to));
  } else {
    file_.read(tensor.begin + begin, size, to);
  }
}

void SafetensorsFile::read_rounded(const StoredTensor& tensor, std::uint64_t begin,
                                   std::size_t size, char* to) const {
  const std::uint64_t end = begin + size;
  std::vector<char> doubles(kRoundedAtOnce * sizeof(double));
  std::vector<char> floats(kRoundedAtOnce * sizeof(float));
  const std::uint64_t last = (end + sizeof(float) - 1) / sizeof(float);
  for (std::uint64_t at = begin / sizeof(float); at < last; at += kRoundedAtOnce) {
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(kRoundedAtOnce, last - at));
    file_.read(tensor.begin + at * sizeof(double), count * sizeof(double), doubles.data());
    round_doubles(doubles.data(), count, floats.data());
    const std::uint64_t first = at * sizeof(float);
    const std::uint64_t from = std::max(first, begin);
    const std::uint64_t until = std::min(first + count * sizeof(float), end);
    std::memcpy(to + (from - begin), floats.data() + (from - first), until - from);
  }
}

}  // namespace

std::shared_ptr<const TensorFile> open_safetensors(const std::string& path, bool map) {
  return std::make_shared<SafetensorsFile>(path, map);
}

}  // namespace perilune
