// Files that are not what their name says.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace perilune {

/// How files are called that PyTorch pickles.
inline constexpr std::string_view kPickleEndings[] = {".bin", ".pt", ".pth", ".ckpt", ".pkl"};

/// What a file is, and what its reader can do about it.
struct ForeignFile {
  std::string kind;  // "an HTML page"
  std::string hint;
};

/// How many of a file's first bytes foreign_file looks at.
inline constexpr std::size_t kForeignBytes = 1024;

/// What a file called `name` that begins with `head` is, where it is known not to hold tensors that
/// are read here: a Git LFS pointer, a page, an archive, a pickle, another library's format.
std::optional<ForeignFile> foreign_file(std::string_view head, std::string_view name);

}  // namespace perilune
