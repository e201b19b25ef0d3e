// What stands where a file should be, when the file itself did not come.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace perilune {

/// What to do where something else came than was asked for.
inline constexpr const char* kDownloadAgain =
    "it is not the file itself: download it again, and look at its size";

struct Placeholder {
  std::string kind;  // "an HTML page"
  std::string hint;
};

/// A pointer of Git LFS, or the page of a server; nothing for anything else. `head`: a file's first
/// bytes, some hundred or all.
std::optional<Placeholder> placeholder(std::string_view head);

/// Throws Error(format, "load") that names `path` where that is what `text` begins with.
void refuse_placeholder(std::string_view text, const std::string& path);

}  // namespace perilune
