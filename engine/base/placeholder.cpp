#include "engine/base/placeholder.h"

#include <algorithm>

#include "engine/base/error.h"

namespace perilune {

namespace {

bool begins_with_any_case(std::string_view text, std::string_view beginning) {
  return text.size() >= beginning.size() &&
         std::equal(beginning.begin(), beginning.end(), text.begin(), [](char a, char b) {
           return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b + 32) : b);
         });
}

}  // namespace

std::optional<Placeholder> placeholder(std::string_view head) {
  if (head.starts_with("version https://git-lfs.github.com/spec/")) {
    return Placeholder{"a Git LFS pointer, not the file itself",
                       "fetch the file: run git lfs pull where it was cloned, or download it"};
  }
  constexpr std::string_view kMark = "\xef\xbb\xbf";
  if (head.starts_with(kMark)) head.remove_prefix(kMark.size());
  head.remove_prefix(std::min(head.find_first_not_of(" \r\n\t"), head.size()));
  for (const std::string_view tag : {"<!doctype html", "<html", "<head"}) {
    if (begins_with_any_case(head, tag)) {
      return Placeholder{"an HTML page", std::string(kDownloadAgain) +
                                             " (a page comes where a link needs a login, or leads "
                                             "to a viewer)"};
    }
  }
  return std::nullopt;
}

void refuse_placeholder(std::string_view text, const std::string& path) {
  const std::optional<Placeholder> found = placeholder(text);
  if (!found) return;
  throw Error(ErrorCode::format, "load", path + ": " + found->kind).hint(found->hint);
}

}  // namespace perilune
