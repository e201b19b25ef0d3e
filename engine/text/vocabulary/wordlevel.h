// One entry a word.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "engine/text/vocabulary/token_model.h"

namespace perilune {

/// A word is its entry or `unknown`; where that is no entry either, encoding such a word throws
/// Error(format).
std::unique_ptr<TokenModel> make_wordlevel(Vocabulary vocabulary, std::string unknown,
                                           std::string_view place);

}  // namespace perilune
