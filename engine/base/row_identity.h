// Whose rows an axis has, told by what the rows hold: equal ids count as equal rows, whichever
// batch they came in.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace perilune {

/// AxisIdentity of a batch's token axis, and of its batch axis (one entry a row).
struct RowIdentity {
  std::uint64_t token = 0, batch = 0;
};

/// Of rows of ids end to end, row r being [starts[r], starts[r + 1]). The same for equal rows; the
/// ids are hashed to 61 bits, not compared: of other rows the same once in 10^18.
RowIdentity identify_rows(std::span<const std::int32_t> ids, std::span<const std::int64_t> starts);

/// For messages: " of the row 1 501 320", " of 2 rows: 1 501; 1 44"; "" for none and
/// for rows that were not among the last few to be identified.
std::string whose_rows(std::uint64_t identity);

/// "axis \"token\" belongs to different batches (both have 3, but they are not the same rows)".
/// Of an axis whose sizes are `a` and `b` (below 0: not known).
std::string different_batches(std::string_view axis, std::int64_t a, std::int64_t b);

/// What to do where tensors of two batches meet.
inline constexpr const char* kTwoBatchesHint =
    "select rows with batch:select, pad both with batch:pad, or t:detach() where whose rows they "
    "are does not matter";

}  // namespace perilune
