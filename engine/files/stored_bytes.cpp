#include "engine/files/stored_bytes.h"

#include <sys/stat.h>

#include <cstring>

#include "engine/base/error.h"

namespace perilune {

void round_doubles(const char* from, std::size_t count, char* to) {
  for (std::size_t i = 0; i < count; ++i) {
    double value = 0;
    std::memcpy(&value, from + i * sizeof value, sizeof value);
    const auto rounded = static_cast<float>(value);
    std::memcpy(to + i * sizeof rounded, &rounded, sizeof rounded);
  }
}

void require_whole(int descriptor, std::uint64_t bytes, const std::string& path) {
  struct stat status {};
  if (::fstat(descriptor, &status) == 0 && static_cast<std::uint64_t>(status.st_size) >= bytes) {
    return;
  }
  throw Error(ErrorCode::file, "load",
              path + ": it ends at byte " + std::to_string(status.st_size) + ", it had " +
                  std::to_string(bytes) + " when it was opened")
      .hint("something changed the file meanwhile: load the model again, without mmap");
}

}  // namespace perilune
