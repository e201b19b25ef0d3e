// What a SentencePiece model makes of normalized text, by each of its four algorithms.
#pragma once

#include <string_view>
#include <vector>

#include "engine/text/vocabulary/token_model.h"

namespace perilune {

/// Immutable and thread-safe.
class Segmenter {
 public:
  virtual ~Segmenter() = default;
  /// Appends the pieces of `text` (valid UTF-8), end to end; the unknown piece where none is.
  virtual void segment(std::string_view text, std::vector<ModelToken>& out) const = 0;
};

}  // namespace perilune
