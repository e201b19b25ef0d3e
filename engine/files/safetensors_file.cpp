// Reading safetensors files.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <unordered_map>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/files/safetensors.h"
#include "engine/files/stored_bytes.h"

namespace perilune {
namespace {

constexpr std::size_t kRoundedAtOnce = std::size_t{1} << 14;  // float64 values

class SafetensorsFile final : public TensorFile {
 public:
  SafetensorsFile(const std::string& path, bool map);
  ~SafetensorsFile() override {
    if (mapping_ != nullptr) ::munmap(mapping_, bytes_);
  }

  const std::string& path() const override { return path_; }
  const std::vector<StoredTensor>& tensors() const override { return header_.tensors; }
  const std::map<std::string, std::string>& metadata() const override { return header_.metadata; }
  const StoredTensor* find(std::string_view name) const override {
    const auto found = index_.find(name);
    return found == index_.end() ? nullptr : &header_.tensors[found->second];
  }
  const void* mapped(const StoredTensor& tensor) const override {
    if (mapping_ == nullptr || tensor.type == kStoredDouble) return nullptr;
    require_whole(descriptor_.get(), bytes_, path_);
    return static_cast<const char*>(mapping_) + tensor.begin;
  }
  void read(const StoredTensor& tensor, std::uint64_t begin, std::size_t size,
            void* to) const override;

 private:
  void read_bytes(std::uint64_t begin, std::size_t size, void* to) const;
  /// [begin, begin + size) of the float32 values that the tensor's float64 ones are read as.
  void read_rounded(const StoredTensor& tensor, std::uint64_t begin, std::size_t size,
                    char* to) const;

  std::string path_;
  Descriptor descriptor_;
  std::size_t bytes_ = 0;
  void* mapping_ = nullptr;
  SafetensorsHeader header_;
  std::unordered_map<std::string_view, std::size_t> index_;  // views of header_'s names
};

SafetensorsFile::SafetensorsFile(const std::string& path, bool map)
    : path_(path), descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
  if (descriptor_.get() < 0) {
    throw Error(ErrorCode::file, "load", path + ": " + reason_of(errno));
  }
  struct stat status {};
  if (::fstat(descriptor_.get(), &status) != 0) {
    throw Error(ErrorCode::file, "load", path + ": " + reason_of(errno));
  }
  if (!S_ISREG(status.st_mode)) throw Error(ErrorCode::file, "load", path + ": not a regular file");
  bytes_ = static_cast<std::size_t>(status.st_size);
  std::string prefix(std::min<std::size_t>(bytes_, 8), '\0');
  read_bytes(0, prefix.size(), prefix.data());
  const std::uint64_t size = safetensors_header_size(prefix, bytes_, path);
  std::string json(size, '\0');
  read_bytes(8, json.size(), json.data());
  header_ = parse_safetensors_header(json, bytes_, path);
  for (std::size_t i = 0; i < header_.tensors.size(); ++i) index_[header_.tensors[i].name] = i;
  if (map && bytes_ != 0) {
    void* mapping = ::mmap(nullptr, bytes_, PROT_READ, MAP_PRIVATE, descriptor_.get(), 0);
    if (mapping != MAP_FAILED) mapping_ = mapping;  // else it is read like any other
  }
}

void SafetensorsFile::read_bytes(std::uint64_t begin, std::size_t size, void* to) const {
  char* out = static_cast<char*>(to);
  for (std::size_t done = 0; done < size;) {
    const ssize_t got =
        ::pread(descriptor_.get(), out + done, size - done, static_cast<off_t>(begin + done));
    if (got > 0) {
      done += static_cast<std::size_t>(got);
    } else if (got == 0) {
      throw Error(ErrorCode::file, "load",
                  path_ + ": it ends at byte " + std::to_string(begin + done) + ", it had " +
                      std::to_string(bytes_) + " when it was opened")
          .hint("something changed the file meanwhile: load the model again");
    } else if (errno != EINTR) {
      throw Error(ErrorCode::file, "load", path_ + ": " + reason_of(errno));
    }
  }
}

void SafetensorsFile::read(const StoredTensor& tensor, std::uint64_t begin, std::size_t size,
                           void* to) const {
  const std::uint64_t length = tensor.end - tensor.begin;
  if (begin > length || size > length - begin || tensor.end > bytes_) {
    throw Error(ErrorCode::internal, "load",
                path_ + ": bytes outside of tensor \"" + tensor.name + "\" were asked for");
  }
  if (size == 0) return;
  if (tensor.type == kStoredDouble) {
    read_rounded(tensor, begin, size, static_cast<char*>(to));
  } else {
    read_bytes(tensor.begin + begin, size, to);
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
    read_bytes(tensor.begin + at * sizeof(double), count * sizeof(double), doubles.data());
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
