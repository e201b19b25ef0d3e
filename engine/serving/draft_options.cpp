// Guesses out of the text so far (prompt lookup).
#include "engine/serving/draft_options.h"

#include <algorithm>

namespace perilune {

void look_up(std::span<const std::int32_t> ids, std::int64_t ngram, std::int64_t most,
             std::vector<std::int32_t>& guesses) {
  const auto length = static_cast<std::int64_t>(ids.size());
  for (std::int64_t n = std::min(ngram, length - 1); n > 0; --n) {
    const auto tail = ids.last(static_cast<std::size_t>(n));
    std::int64_t best = -1, best_count = 0;
    for (std::int64_t at = length - n - 1; at >= 0 && best_count < most; --at) {
      if (!std::equal(tail.begin(), tail.end(), ids.begin() + at)) continue;
      const std::int64_t count = std::min(most, length - at - n);
      if (count <= best_count) continue;
      best = at + n;
      best_count = count;
    }
    if (best < 0) continue;
    guesses.insert(guesses.end(), ids.begin() + best, ids.begin() + best + best_count);
    return;
  }
}

}  // namespace perilune
