#include "engine/base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/file_source.h"
#include "engine/base/input_file.h"
#include "engine/base/long_work.h"

namespace perilune {
namespace {

constexpr int kMostTries = 100;                      // names of a pending file
constexpr std::size_t kPart = std::size_t{1} << 26;  // bytes written before the host is told

[[noreturn]] void fail(std::string_view op, const std::string& path, const std::string& problem) {
  throw Error(ErrorCode::file, std::string(op), path + ": " + problem);
}

}  // namespace

// ---------------------------------------------------------------- writing

PendingFile::PendingFile(std::string path, std::string op)
    : path_(std::move(path)), op_(std::move(op)) {
  struct stat status {};
  if (::lstat(path_.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    const char* what = S_ISDIR(status.st_mode)   ? "a folder"
                       : S_ISLNK(status.st_mode) ? "a link"
                                                 : "a device or pipe";
    throw Error(ErrorCode::file, op_, path_ + ": is " + what + ", which is not replaced by a file")
        .hint("give the path of a file");
  }
  for (int i = 0; i < kMostTries && descriptor_ < 0; ++i) {
    pending_ = path_ + ".part-" + std::to_string(::getpid()) + "-" + std::to_string(i);
    descriptor_ = ::open(pending_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor_ < 0 && errno != EEXIST) break;
  }
  if (descriptor_ < 0) fail(errno);
}

PendingFile::~PendingFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!kept_ && !pending_.empty()) ::unlink(pending_.c_str());
}

void PendingFile::write(const void* data, std::size_t size) {
  const char* from = static_cast<const char*>(data);
  while (size > 0) {
    tell_long_work(op_.c_str());
    const ssize_t written = ::write(descriptor_, from, std::min(size, kPart));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail(errno);
    from += written;
    size -= static_cast<std::size_t>(written);
  }
}

void PendingFile::keep() {
  if (::fsync(descriptor_) != 0 && errno != EINVAL) fail(errno);
  const int descriptor = std::exchange(descriptor_, -1);
  if (::close(descriptor) != 0) fail(errno);
  if (std::rename(pending_.c_str(), path_.c_str()) != 0) fail(errno);
  kept_ = true;
}

void PendingFile::fail(int error) const {
  throw Error(ErrorCode::file, op_, path_ + ": " + reason_of(error)).hint("nothing was changed");
}

// ---------------------------------------------------------------- reading

std::string read_file(const std::string& path, std::uint64_t max_bytes, std::string_view op) {
  const InputFile file(path, std::string(op));
  if (file.size() > max_bytes) {
    fail(op, path,
         "too large: " + std::to_string(file.size()) + " bytes, at most " +
             std::to_string(max_bytes) + " are read");
  }
  std::string bytes(static_cast<std::size_t>(file.size()), '\0');
  file.read(0, bytes.size(), bytes.data());
  return bytes;
}

namespace {

// What is at a path: its kind, of a host's source first. Neither for devices and what is missing.
FileSource::Kind kind_at(const std::string& path) {
  const FileSource::Kind brought = find_in_source(path).kind;
  struct stat status {};
  if (brought != FileSource::Kind::none || ::stat(path.c_str(), &status) != 0) return brought;
  return S_ISREG(status.st_mode)   ? FileSource::Kind::file
         : S_ISDIR(status.st_mode) ? FileSource::Kind::folder
                                   : FileSource::Kind::none;
}

}  // namespace

bool file_exists(const std::string& path) {
  return kind_at(path) == FileSource::Kind::file;
}

bool folder_exists(const std::string& path) {
  return kind_at(path) == FileSource::Kind::folder;
}

std::string head_of_file(const std::string& path, std::size_t most) {
  if (!file_exists(path)) return {};
  try {
    const InputFile file(path);
    std::string head(static_cast<std::size_t>(std::min<std::uint64_t>(most, file.size())), '\0');
    file.read(0, head.size(), head.data());
    return head;
  } catch (const Error&) {
    return {};
  }
}

std::string join_path(std::string_view folder, std::string_view name) {
  std::string path(folder);
  if (!path.empty() && path.back() != '/') path += '/';
  return path.append(name);
}

std::string base_name(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  const std::size_t slash = path.rfind('/');
  if (slash != std::string_view::npos && path.size() > 1) path.remove_prefix(slash + 1);
  return std::string(path);
}

}  // namespace perilune
