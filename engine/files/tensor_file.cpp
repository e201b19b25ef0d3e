// Reading safetensors files, and telling what else a file may be.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>
#include <unordered_map>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/files/gguf/tensors.h"
#include "engine/files/safetensors.h"
#include "engine/weights/checkpoint.h"

namespace perilune {
namespace {

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
    return mapping_ == nullptr ? nullptr : static_cast<const char*>(mapping_) + tensor.begin;
  }
  void read(const StoredTensor& tensor, std::uint64_t begin, std::size_t size,
            void* to) const override;

 private:
  void read_bytes(std::uint64_t begin, std::size_t size, void* to) const;

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
  if (mapping_ != nullptr) {
    std::memcpy(to, static_cast<const char*>(mapping_) + tensor.begin + begin, size);
  } else {
    read_bytes(tensor.begin + begin, size, to);
  }
}

/// PyTorch's: a zip archive, or a stream whose first object is its long magic number.
bool is_pickle(const std::string& path) {
  if (!file_exists(path)) return false;
  char head[4] = {};
  std::ifstream(path, std::ios::binary).read(head, sizeof head);
  const std::string_view first(head, sizeof head);
  return first == "PK\x03\x04" || (first.starts_with('\x80') && first.substr(2) == "\x8a\x0a");
}

}  // namespace

std::shared_ptr<const TensorFile> TensorFile::open(const std::string& path, bool map) {
  if (is_gguf_file(path)) return open_gguf_tensors(path, map);
  if (is_pickle(path)) {
    throw Error(ErrorCode::unsupported, "load", path + ": a pickled file, which is never read")
        .hint(kPickleHint);
  }
  return std::make_shared<SafetensorsFile>(path, map);
}

Tensor read_tensor(const std::shared_ptr<Context>& context, const TensorFile& file,
                   const StoredTensor& tensor, const std::vector<std::string>& axes) {
  require_readable(tensor, file.path());
  const std::size_t rank = tensor.sizes.size();
  if (rank > static_cast<std::size_t>(kernels::kMaxAxes)) {
    throw Error(ErrorCode::unsupported, "load",
                file.path() + ": tensor \"" + tensor.name + "\" has " + std::to_string(rank) +
                    " axes, at most " + std::to_string(kernels::kMaxAxes) + " are supported");
  }
  if (!axes.empty() && axes.size() != rank) {
    throw Error(ErrorCode::shape, "load",
                "tensor \"" + tensor.name + "\" has " + std::to_string(rank) + " axes, " +
                    std::to_string(axes.size()) + " names are given")
        .where(file.path());
  }
  std::vector<Axis> named;
  for (std::size_t i = 0; i < rank; ++i) {
    named.push_back({axes.empty() ? "axis" + std::to_string(i + 1) : axes[i], tensor.sizes[i], 0});
  }
  Tensor out = Tensor::make(context, tensor.dtype, Shape(std::move(named)));
  file.read(tensor, 0, out.bytes(), out.data());
  if (tensor.dtype == DType::boolean) {
    auto* bytes = out.as<std::uint8_t>();
    std::transform(bytes, bytes + out.bytes(), bytes,
                   [](std::uint8_t byte) { return static_cast<std::uint8_t>(byte != 0); });
  }
  return out;
}

}  // namespace perilune
