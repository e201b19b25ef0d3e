// Writing safetensors files: whole, or not at all.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <set>
#include <system_error>

#include "engine/base/error.h"
#include "engine/base/json.h"
#include "engine/files/safetensors.h"

namespace perilune {
namespace {

using NamedTensor = std::pair<std::string, Tensor>;

constexpr int kMostTries = 100;

/// A new file beside `path` that becomes `path` when it is kept, and goes when it is not.
class PendingFile {
 public:
  explicit PendingFile(std::string path) : path_(std::move(path)) {
    for (int i = 0; i < kMostTries && descriptor_ < 0; ++i) {
      pending_ = path_ + ".part-" + std::to_string(::getpid()) + "-" + std::to_string(i);
      descriptor_ = ::open(pending_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (descriptor_ < 0 && errno != EEXIST) break;
    }
    if (descriptor_ < 0) fail(errno);
  }
  ~PendingFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (!kept_ && !pending_.empty()) ::unlink(pending_.c_str());
  }
  PendingFile(const PendingFile&) = delete;
  PendingFile& operator=(const PendingFile&) = delete;

  void write(const void* data, std::size_t size) {
    const char* from = static_cast<const char*>(data);
    while (size > 0) {
      const ssize_t written = ::write(descriptor_, from, size);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail(errno);
      from += written;
      size -= static_cast<std::size_t>(written);
    }
  }

  void keep() {
    if (::fsync(descriptor_) != 0 && errno != EINVAL) fail(errno);
    const int descriptor = std::exchange(descriptor_, -1);
    if (::close(descriptor) != 0) fail(errno);
    if (std::rename(pending_.c_str(), path_.c_str()) != 0) fail(errno);
    kept_ = true;
  }

 private:
  [[noreturn]] void fail(int error) const {
    throw Error(ErrorCode::file, "save", path_ + ": " + std::generic_category().message(error))
        .hint("nothing was changed");
  }

  std::string path_, pending_;
  int descriptor_ = -1;
  bool kept_ = false;
};

void check_names(const std::vector<NamedTensor>& tensors) {
  std::set<std::string_view> seen;
  for (const auto& [name, tensor] : tensors) {
    const char* problem = nullptr;
    if (name.empty()) problem = "a tensor has no name";
    if (name == "__metadata__") problem = "no tensor may be called \"__metadata__\"";
    if (problem == nullptr && !tensor.defined()) problem = "there is no tensor";
    if (problem == nullptr && !seen.insert(name).second) problem = "two tensors have one name";
    if (problem != nullptr) {
      throw Error(ErrorCode::argument, "save", problem).operand("name", "\"" + name + "\"");
    }
  }
}

/// Wider types first, so that every tensor begins at a multiple of its element.
std::vector<const NamedTensor*> file_order(const std::vector<NamedTensor>& tensors) {
  std::vector<const NamedTensor*> order;
  for (const NamedTensor& tensor : tensors) order.push_back(&tensor);
  std::stable_sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return dtype_size(a->second.dtype()) > dtype_size(b->second.dtype());
  });
  return order;
}

std::string header_text(const std::vector<const NamedTensor*>& order,
                        const std::map<std::string, std::string>& metadata) {
  Json root = Json::object();
  if (!metadata.empty()) {
    Json pairs = Json::object();
    for (const auto& [key, value] : metadata) pairs.set(key, Json(value));
    root.set("__metadata__", std::move(pairs));
  }
  std::int64_t begin = 0;
  for (const NamedTensor* entry : order) {
    const Tensor& tensor = entry->second;
    Json sizes = Json::array();
    for (const Axis& axis : tensor.shape().axes()) sizes.push(Json(axis.size));
    const std::int64_t end = begin + static_cast<std::int64_t>(tensor.bytes());
    Json offsets = Json::array();
    offsets.push(Json(begin)).push(Json(end));
    Json described = Json::object();
    described.set("dtype", Json(safetensors_type(tensor.dtype())));
    described.set("shape", std::move(sizes));
    described.set("data_offsets", std::move(offsets));
    root.set(entry->first, std::move(described));
    begin = end;
  }
  std::string text = write_json(root);
  text.append((8 - text.size() % 8) % 8, ' ');
  if (text.size() > kMaxSafetensorsHeader) {
    throw Error(ErrorCode::argument, "save",
                "names and metadata take " + std::to_string(text.size()) + " bytes, at most " +
                    std::to_string(kMaxSafetensorsHeader) + " are possible");
  }
  return text;
}

}  // namespace

void write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  check_names(tensors);
  const std::vector<const NamedTensor*> order = file_order(tensors);
  const std::string header = header_text(order, metadata);
  PendingFile file(path);
  std::string length(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) {
    length[i] = static_cast<char>(header.size() >> (8 * i) & 0xff);
  }
  file.write(length.data(), length.size());
  file.write(header.data(), header.size());
  for (const NamedTensor* entry : order) {
    const Tensor& tensor = entry->second;
    const Tensor plain = tensor.to_contiguous().to(tensor.context()->cpu_device());
    if (plain.bytes() != 0) file.write(plain.data(), plain.bytes());
  }
  file.keep();
}

}  // namespace perilune
