#include "engine/sampling/option_ranges.h"

#include <cmath>
#include <limits>

#include "engine/base/error.h"
#include "engine/base/number_text.h"

namespace perilune {

namespace {

constexpr double kAny = std::numeric_limits<double>::max();
constexpr double kMostOutputs = 1024;
constexpr const char* kAboveZero = "a number above 0";
constexpr const char* kShare = "a number above 0, at most 1";
constexpr const char* kCutoff = "a number from 0 (off), below 1";
constexpr const char* kCount = "0 (off) or more";
constexpr const char* kOutputs = "from 1 to 1024";
constexpr const char* kUnchanged = "1 leaves the scores as they are";

constexpr OptionRange kRanges[] = {
    {"temperature", 0, kAny, true, false, kAboveZero,
     "for the most likely token every time, use do_sample = false"},
    {"top_k", 0, kAny, false, false, kCount},
    {"top_p", 0, 1, true, false, kShare},
    {"min_p", 0, 1, false, false, "a number from 0 to 1"},
    {"typical_p", 0, 1, true, false, kShare},
    {"epsilon_cutoff", 0, 1, false, true, kCutoff},
    {"eta_cutoff", 0, 1, false, true, kCutoff},
    {"repetition_penalty", 0, kAny, true, false, kAboveZero, kUnchanged},
    {"encoder_repetition_penalty", 0, kAny, true, false, kAboveZero, kUnchanged},
    {"no_repeat_ngram_size", 0, kAny, false, false, kCount},
    {"encoder_no_repeat_ngram_size", 0, kAny, false, false, kCount},
    {"exponential_decay_length_penalty", 0, kAny, true, false,
     "{ tokens, factor }, the factor above 0"},
    {"frequency_penalty", -kAny, kAny, false, false, "a finite number"},
    {"presence_penalty", -kAny, kAny, false, false, "a finite number"},
    {"dry_multiplier", 0, kAny, false, false, kCount},
    {"dry_base", 1, kAny, false, false, "1 or more"},
    {"dry_allowed_length", 1, kAny, false, false, "1 or more"},
    {"top_n_sigma", 0, kAny, false, false, kCount},
    {"top_h", 0, 1, true, false, kShare},
    {"xtc_probability", 0, 1, false, false, "a number from 0 to 1"},
    {"xtc_threshold", 0, 1, true, false, kShare},
    {"dynatemp_range", 0, kAny, false, false, kCount},
    {"dynatemp_exponent", 0, kAny, true, false, kAboveZero},
    {"mirostat", 2, 2, false, false, "0 (off) or 2"},
    {"mirostat_tau", 0, kAny, true, false, kAboveZero},
    {"mirostat_eta", 0, 1, true, false, kShare},
    {"max_new_tokens", 0, kAny, false, false, "0 or more"},
    {"min_new_tokens", 0, kAny, false, false, "0 or more"},
    {"logprobs", 0, kAny, false, false, "0 or more"},
    {"n", 1, kMostOutputs, false, false, kOutputs},
    {"num_return_sequences", 1, kMostOutputs, false, false, kOutputs},
    {"num_beams", 1, kMostOutputs, false, false, kOutputs},
    {"num_beam_groups", 1, kMostOutputs, false, false, kOutputs},
    {"diversity_penalty", 0, kAny, false, false, kCount},
    {"penalty_alpha", 0, 1, false, false, "a number from 0 (off) to 1"},
    {"guidance_scale", -kAny, kAny, false, false, "a finite number"},
    {"length_penalty", -kAny, kAny, false, false, "a finite number"},
};

}  // namespace

bool OptionRange::fits(double value) const {
  const bool above = low_open ? value > low : value >= low;
  const bool below = high_open ? value < high : value <= high;
  return above && below;
}

std::span<const OptionRange> option_ranges() {
  return kRanges;
}

const OptionRange* find_range(std::string_view name) {
  for (const OptionRange& range : kRanges) {
    if (name == range.name) return &range;
  }
  return nullptr;
}

void check_range(std::string_view name, double value) {
  const OptionRange* range = find_range(name);
  if (range == nullptr) {
    throw Error(ErrorCode::internal, "generate", "no range is known of " + std::string(name));
  }
  if (range->fits(value)) return;
  throw Error(ErrorCode::option, "generate",
              "option " + std::string(name) + ": expected " + range->expected + ", got " +
                  number_text(value, 6))
      .hint(range->hint);
}

}  // namespace perilune
