// What makes runs of ids that were there before less likely.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/sampling/logit_edits.h"

namespace perilune {

/// Don't repeat yourself (p-e-w, 2024): an id that would make a run of `allowed_length` or more ids
/// longer, where that run and the id stood before, loses multiplier * base^(length of the run -
/// allowed_length).
struct DryOptions {
  double multiplier = 0;  // 0: off
  double base = 1.75;
  std::int64_t allowed_length = 2;
  std::int64_t last_n = -1;            // ids that are looked at; -1: all
  std::vector<std::int32_t> breakers;  // sorted: no run goes across one of them
};

/// Its memory is used again from row to row.
class DryPenalty {
 public:
  /// Takes the penalties off the logits; `ids` are the prompt's and the new ones.
  void apply(LogitEdits& edits, std::span<const std::int32_t> ids, const DryOptions& options);

 private:
  std::vector<std::int64_t> runs_;     // by distance from the end
  std::vector<std::int64_t> longest_;  // by id; 0: none
};

/// Takes `frequency` off the score of an id for every time that it is in `ids`, and `presence`
/// once.
void apply_counts(LogitEdits& edits, std::span<const std::int32_t> ids, double frequency,
                  double presence);

/// What is left to write of words that an answer must hold.
struct MissingWords {
  std::int64_t ids = 0;    // of all of them
  std::int32_t next = -1;  // of the one that is begun, else of the first; -1: none is missing
};
MissingWords missing_words(std::span<const std::int32_t> ids,
                           std::span<const std::vector<std::int32_t>> words);

}  // namespace perilune
