// The normalization that a SentencePiece model carries: its rules, its treatment of white space.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/text/sentencepiece/charsmap.h"
#include "engine/text/sentencepiece/file.h"
#include "engine/text/unicode/byte_trie.h"

namespace perilune {

/// Normalized text and, for each of its bytes and its end, the byte of the input it came from.
struct NormalizedText {
  std::string text;
  std::vector<std::uint32_t> origin;  // text.size() + 1 values, ascending
};

class SentencePieceNormalizer {
 public:
  /// `model` is valid (parse_sentencepiece).
  explicit SentencePieceNormalizer(const SentencePieceModel& model);
  /// `dummy_prefix`: whether a space goes before (or, for some models, after) the text.
  NormalizedText normalize(std::string_view text, bool dummy_prefix) const;

 private:
  struct Step {
    std::string_view out;
    std::size_t consumed;
  };
  Step next(std::string_view text) const;

  Charsmap charsmap_;
  ByteTrie symbols_;  // user-defined pieces stay as they are
  bool remove_extra_, as_suffix_;
  std::string_view space_;  // what a space becomes
};

}  // namespace perilune
