// Sequences that an answer is chosen with and that are none: rows of the same steps, pages of the
// same pool.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/batch/batch.h"
#include "engine/plan/plan.h"

namespace perilune {

/// What a sequence is to its request. A request's sequences are its answers, then as many that go
/// without its prompt, then candidates.
enum class SequenceRole {
  answer,
  without,   // the same answer after other words (guidance)
  candidate  // an answer with one of its likely next tokens (contrastive search)
};

/// guidance_scale: what every answer's scores are held against.
struct GuidanceOptions {
  double scale = 1;               // 1: off
  std::vector<std::int32_t> ids;  // in the prompt's place; an encoder-decoder's: the prompt itself
  std::shared_ptr<const Batch> source;  // in the source's place, one row; null: there is no encoder
  std::int64_t encoded_tokens = 0;      // what it becomes in length; set by submit()

  bool on() const { return scale != 1; }
};

/// penalty_alpha and top_k.
struct ContrastiveOptions {
  double alpha = 0;  // 0: off
  std::int64_t top_k = 0;
  std::shared_ptr<const Plan> plan;  // the request's, that gives back `hidden` as well
  std::string hidden;                // the path of what the head reads, [token, hidden]

  bool on() const { return alpha != 0; }
};

/// What a pass gave of a sequence, until those that its choice waits for have theirs.
struct Held {
  bool there = false;
  std::vector<float> logits;        // [choice, vocab]; of a dry run: none
  std::vector<std::int32_t> ahead;  // the guesses that they are of
  std::size_t choices = 0;          // rows of `logits`
  std::size_t choice = 0;           // that is made now
  std::vector<float> hidden;        // of a candidate's last token

  void clear() {
    there = false;
    logits.clear();
    ahead.clear();
    hidden.clear();
    choices = choice = 0;
  }
};

}  // namespace perilune
