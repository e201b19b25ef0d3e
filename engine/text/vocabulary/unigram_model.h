// The unigram language model as a tokenizer.json has it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/text/vocabulary/token_model.h"

namespace perilune {

struct UnigramOptions {
  std::optional<std::int32_t> unknown;
  bool byte_fallback = false;  // runs of unknown characters become <0xNN>
};

/// Pieces and scores by id. Throws Error(format) naming `place`.
std::unique_ptr<TokenModel> make_unigram(std::vector<std::pair<std::string, double>> pieces,
                                         const UnigramOptions& options, std::string_view place);

/// A score as the published reader of tokenizer.json gets it: it takes a number's digits as an
/// integer and divides that by a power of ten. This can be one unit in the last place off, and
/// decides between paths whose sums are the same but for rounding ("c" and "ccc", "ccc" and "c").
double published_score(double score);

}  // namespace perilune
