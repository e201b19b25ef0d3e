// Whole files into memory, with one reason per failure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/base/descriptor.h"

namespace perilune {

/// A new file beside `path` that becomes `path` when it is kept, and goes when it is not: a failure
/// leaves what was there. Only a regular file is ever replaced.
class PendingFile {
 public:
  /// Throws Error(file) naming `op` and the path, as write() and keep() do.
  PendingFile(std::string path, std::string op);
  ~PendingFile();
  PendingFile(const PendingFile&) = delete;
  PendingFile& operator=(const PendingFile&) = delete;
  void write(const void* data, std::size_t size);
  void keep();

 private:
  [[noreturn]] void fail(int error) const;

  std::string path_, op_, pending_;
  int descriptor_ = -1;
  bool kept_ = false;
};

/// The bytes of the regular file `path`. Throws Error(file) naming `op` and the path: it is
/// missing, a folder or a device, longer than `max_bytes`, cannot be read, or changed while it was
/// read.
std::string read_file(const std::string& path, std::uint64_t max_bytes,
                      std::string_view op = "load");

/// The first bytes of a file, at most `most`; none of one that is missing or cannot be read.
std::string head_of_file(const std::string& path, std::size_t most);

/// Whether `path` is a regular file (links are followed). Never throws.
bool file_exists(const std::string& path);

/// Whether `path` is a folder (links are followed). Never throws.
bool folder_exists(const std::string& path);

/// `folder` and `name` with one slash between them.
std::string join_path(std::string_view folder, std::string_view name);

/// The last component of `path`.
std::string base_name(std::string_view path);

}  // namespace perilune
