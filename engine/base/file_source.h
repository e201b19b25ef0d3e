// Files that a host brings beside those of the file system: an archive of a game, a table in
// memory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace perilune {

class FileSource {
 public:
  enum class Kind { none, file, folder };
  struct Found {
    Kind kind = Kind::none;
    /// Of a file: its bytes, valid as long as somebody holds them.
    std::shared_ptr<const void> data;
    std::uint64_t size = 0;
  };

  virtual ~FileSource() = default;
  /// What is at `path`. Called by the thread of the scope.
  virtual Found find(const std::string& path) const = 0;
};

/// For its life this thread's files are looked for in `source` first; with nullptr in the file
/// system alone. Scopes nest; an open file stays what it is beyond them.
class FileSourceScope {
 public:
  explicit FileSourceScope(const FileSource* source);
  ~FileSourceScope();
  FileSourceScope(const FileSourceScope&) = delete;
  FileSourceScope& operator=(const FileSourceScope&) = delete;

 private:
  const FileSource* before_;
};

/// What this thread's source has at `path`; nothing where there is none.
FileSource::Found find_in_source(const std::string& path);

}  // namespace perilune
