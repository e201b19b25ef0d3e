// The unigram language model's segmentation (Kudo 2018): the pieces with the highest sum of scores.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/text/sentencepiece/file.h"
#include "engine/text/unicode/byte_trie.h"

namespace perilune {

class Unigram {
 public:
  /// One piece of a text: bytes [first, last).
  struct Segment {
    std::uint32_t first, last;
    std::int32_t id;  // the unknown piece for a character no piece covers
  };
  /// Room that segment() works in, to be used again.
  struct Scratch {
    struct Best {
      double score = 0;
      std::int32_t id = -1;
      std::uint32_t first = 0;
    };
    std::vector<Best> best;  // of the ways to end at each byte
  };

  /// As the SentencePiece library: sums are float.
  explicit Unigram(const SentencePieceModel& model);
  /// As a tokenizer.json has it: pieces and scores by id, sums are double, of a piece that is there
  /// twice the last counts. Without `unknown`, text that needs it throws Error(format).
  Unigram(const std::vector<std::pair<std::string, double>>& pieces,
          std::optional<std::int32_t> unknown);

  /// Viterbi over bytes; the first of equal paths wins: what current releases of the published
  /// library answer (0.1.97 breaks some ties otherwise). `text` is valid UTF-8.
  std::vector<Segment> segment(std::string_view text) const;
  /// The same, into `out`, which is emptied first.
  void segment(std::string_view text, Scratch& scratch, std::vector<Segment>& out) const;

 private:
  template <typename Sum>
  void find_best(std::string_view text, Scratch& scratch) const;

  ByteTrie trie_;
  std::vector<double> scores_;  // by id
  double unknown_score_ = 0;
  std::optional<std::int32_t> unknown_id_;
  bool single_precision_ = true;
};

}  // namespace perilune
