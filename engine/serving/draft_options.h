// Guesses of the tokens that come next, for one pass to check several at once (speculative
// decoding; Leviathan et al. 2023). What follows each guess is chosen exactly as without guesses,
// with the random numbers of its own position, and a guess stays only where it is what was chosen:
// answers are the same to the bit, only sooner.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/cache/cache.h"
#include "engine/sampling/sampler.h"

namespace perilune {

class Plan;

/// At most so many guesses at once: those that prove wrong are cropped again.
inline constexpr std::int64_t kMostGuesses = kKeptBehind - 1;

struct DraftOptions {
  std::int64_t tokens = 0;           // at most so many guesses at once; 0: none
  std::int64_t ngram = 2;            // without a model: the longest run of ids that is looked for
  std::shared_ptr<const Plan> plan;  // of the model that guesses; null: the text so far does
  std::shared_ptr<Cache> cache;      // for that model's keys and values
  std::int64_t max_tokens = 0;       // its positions; 0: no limit
  std::int64_t reachable = 0;        // ids that both models have
};

/// What a model that guesses has read of a sequence.
struct DraftState {
  std::unique_ptr<SequenceCache> cache;
  std::vector<std::int32_t> ids;  // whose keys and values are in `cache`
  std::unique_ptr<Sampler> sampler;
};

/// Appends up to `most` ids that followed where the last ids (at most `ngram` of them, as many as
/// are found) came before: the latest place that has `most` to give, else the one that has the
/// most.
void look_up(std::span<const std::int32_t> ids, std::int64_t ngram, std::int64_t most,
             std::vector<std::int32_t>& guesses);

}  // namespace perilune
