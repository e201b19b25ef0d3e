// Merges as text: two entries with a space between them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "engine/text/vocabulary/entries.h"
#include "engine/text/vocabulary/token_model.h"

namespace perilune {

class MergeLines {
 public:
  /// Keeps a reference to `vocabulary`.
  explicit MergeLines(const Vocabulary& vocabulary) : vocabulary_(vocabulary) {}
  /// The two entries of `line`. Where it has more than one space, which the published reader
  /// refuses though published files have it, the one way to read it as two entries that give a
  /// third. nullopt: there is no way, or there are several.
  std::optional<std::pair<std::string, std::string>> read(const std::string& line);

 private:
  bool entry(std::string_view spelling);

  const Vocabulary& vocabulary_;
  std::unique_ptr<PieceTable> table_;  // made when it is needed
};

}  // namespace perilune
