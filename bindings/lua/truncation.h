// Cutting encoded rows to a length: what is kept, what is lost, and windows over long texts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/text/tokenizer.h"

namespace perilune::lua {

struct Truncation {
  std::int64_t to = 0;  // tokens in all, put-in ones included
  bool left = false;    // which end is cut
  enum class Strategy { longest_first, only_first, only_second } strategy = Strategy::longest_first;
  std::int64_t stride = 0;  // tokens that two windows share
  bool windows = false;     // every part, not only the first
};

/// One row made of an encoding.
struct EncodedRow {
  std::vector<std::int32_t> ids;
  std::vector<std::int64_t> type_ids;
  std::int64_t lost = 0;
};

/// The rows of one encoding, whose `tokens` are filled where it is cut. Tokens that were put in
/// (bos, eos, cls, sep) stay. Throws Error(length) where nothing of the text would be left.
std::vector<EncodedRow> truncate(const Encoding& encoding, const Truncation& how,
                                 const std::string& op);

/// The whole encoding as a row.
EncodedRow whole_row(const Encoding& encoding);

}  // namespace perilune::lua
