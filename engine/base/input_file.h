// A file that is read in places: of the file system, or of a host's source.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "engine/base/descriptor.h"

namespace perilune {

class InputFile {
 public:
  /// Throws Error(file) naming `op` and the path: it is missing, a folder or a device.
  explicit InputFile(std::string path, std::string op = "load");
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  const std::string& path() const { return path_; }
  /// In bytes, when it was opened.
  std::uint64_t size() const { return size_; }
  /// Bytes [begin, begin + size). Any thread. Throws Error(file): it cannot be read, or has become
  /// shorter.
  void read(std::uint64_t begin, std::size_t size, void* to) const;
  /// Makes all of it readable as memory, which stays the file's; false where that cannot be, and it
  /// is read like any other then. Touching a mapping beyond the end of a file kills the process:
  /// see mapped().
  bool map();
  /// The mapped bytes, or nullptr without map(). Throws Error(file) where the file has become
  /// shorter. One that shrinks after this look still ends the process, so mapping is opt-in.
  const char* mapped() const;

 private:
  [[noreturn]] void fail(const std::string& problem) const;
  [[noreturn]] void fail_short(std::uint64_t at, const char* remedy) const;

  std::string path_, op_;
  std::unique_ptr<const Descriptor> descriptor_;  // of the file system
  std::shared_ptr<const void> brought_;           // of a source
  std::uint64_t size_ = 0;
  const void* mapping_ = nullptr;
};

}  // namespace perilune
