#include "engine/text/decode/growth.h"

#include <string>

#include "engine/base/error.h"

namespace perilune {

void check_growth(std::size_t made, std::size_t given) {
  if (made <= most_decoded(given)) return;
  throw Error(ErrorCode::length, "decode", "the decoded text is too long")
      .operand("pieces", std::to_string(given) + " bytes")
      .operand("limit", std::to_string(most_decoded(given)) + " bytes")
      .hint("the tokenizer's decoder multiplies the text; is its file damaged?");
}

}  // namespace perilune
