// SentencePiece's byte pair encoding: pieces have scores instead of ranked pairs.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/text/sentencepiece/file.h"
#include "engine/text/unicode/byte_trie.h"
#include "engine/text/vocabulary/entries.h"
#include "engine/text/vocabulary/memo.h"
#include "engine/text/vocabulary/segmenter.h"

namespace perilune {

/// Of all neighbours whose text together is a piece those join whose piece has the highest score,
/// of equal ones the leftmost. User-defined pieces that begin a place are taken whole before. A
/// piece of type unused comes apart again into the two that it was last about to be joined from.
class ScoreBpe final : public Segmenter {
 public:
  explicit ScoreBpe(const SentencePieceModel& model);
  void segment(std::string_view text, std::vector<ModelToken>& out) const override;

 private:
  class Encoder;  // one call of segment

  void note_joins(std::string_view piece);
  bool may_join(char32_t left, char32_t right) const {
    return joins_[(left * std::size_t{509} + right) & (joins_.size() - 1)];
  }

  const SentencePieceModel& model_;
  PieceTable pieces_;    // that neighbours may become
  PieceTable reserved_;  // that only a character alone may be
  ByteTrie user_defined_;
  /// For every two characters that stand side by side in a piece. Text is cut between all others.
  std::vector<bool> joins_;
  bool unused_ = false;  // a piece of that type is there: a text's parts act on one another
  mutable MemoPool memos_;
};

}  // namespace perilune
