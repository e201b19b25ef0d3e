// The unigram language model's segmentation (Kudo 2018): the pieces with the highest sum of scores.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/text/byte_trie.h"
#include "engine/text/sentencepiece_file.h"

namespace perilune {

class Unigram {
 public:
  /// One piece of a text: bytes [first, last).
  struct Segment {
    std::uint32_t first, last;
    std::int32_t id;  // the unknown piece for a character no piece covers
  };

  explicit Unigram(const SentencePieceModel& model);
  /// Viterbi over bytes; sums are float, the first of equal paths wins: what current releases of
  /// the published library answer (0.1.97 breaks some ties otherwise). `text` is valid UTF-8.
  std::vector<Segment> segment(std::string_view text) const;

 private:
  ByteTrie trie_;
  std::vector<float> scores_;       // by id
  std::vector<bool> user_defined_;  // by id; their score grows with length, so that they win
  float unknown_score_ = 0, highest_score_ = 0;
  std::int32_t unknown_id_ = 0;
};

}  // namespace perilune
