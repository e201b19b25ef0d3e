#include "engine/text/vocabulary/bpe_merge_lines.h"

namespace perilune {

bool MergeLines::entry(std::string_view spelling) {
  if (spelling.empty()) return false;
  if (table_ == nullptr) {
    table_ = std::make_unique<PieceTable>(vocabulary_.size());
    for (const auto& [piece, id] : vocabulary_) table_->insert(piece, 0);
  }
  return table_->find(spelling) != nullptr;
}

std::optional<std::pair<std::string, std::string>> MergeLines::read(const std::string& line) {
  constexpr std::size_t kLongest = 4096;  // of a line that has to be tried
  const std::size_t space = line.find(' ');
  if (space == std::string::npos) return std::nullopt;
  if (line.find(' ', space + 1) == std::string::npos) {
    return std::pair(line.substr(0, space), line.substr(space + 1));
  }
  if (line.size() > kLongest) return std::nullopt;
  std::optional<std::pair<std::string, std::string>> found;
  for (std::size_t at = space; at != std::string::npos; at = line.find(' ', at + 1)) {
    std::string left = line.substr(0, at), right = line.substr(at + 1);
    if (!entry(left) || !entry(right) || !entry(left + right)) continue;
    if (found) return std::nullopt;
    found.emplace(std::move(left), std::move(right));
  }
  return found;
}

}  // namespace perilune
