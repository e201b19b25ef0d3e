// Cutting encoded rows to a length: what is kept, what is lost, and windows over long texts. Equal
// to the published tokenizers' truncation, windows included.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/text/tokenizer/tokenizer.h"

namespace perilune {

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
  std::int64_t lost = 0;            // tokens that no row of this encoding has
  std::vector<std::uint32_t> kept;  // which tokens of the encoding these are; empty: all
  // Where the row begins in each of its two texts: the first token of it that the row has.
  std::int64_t first[2] = {0, 0};
};

/// The rows of one encoding, whose `tokens` are filled where it is cut. Tokens that were put in
/// (bos, eos, cls, sep) stay. With windows: the row that a plain cut gives, then the others; where
/// both texts of a pair are cut, every window of one with every window of the other. Throws
/// Error(length) where nothing of a text would be left, Error(option) for a stride that is no less
/// than a window.
std::vector<EncodedRow> truncate(const Encoding& encoding, const Truncation& how,
                                 const std::string& op);

/// The whole encoding as a row.
EncodedRow whole_row(const Encoding& encoding);

}  // namespace perilune
