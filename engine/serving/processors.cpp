#include "engine/serving/processors.h"

#include <algorithm>
#include <limits>

#include "engine/sampling/logits.h"

namespace perilune {

void apply_mask(std::span<float> scores, std::span<const std::uint32_t> allowed) {
  for (std::size_t first = 0; first < scores.size(); first += 32) {
    const std::uint32_t word = first / 32 < allowed.size() ? allowed[first / 32] : 0;
    if (word == ~std::uint32_t{0}) continue;
    const std::span<float> part =
        scores.subspan(first, std::min<std::size_t>(32, scores.size() - first));
    for (std::size_t bit = 0; bit < part.size(); ++bit) {
      if (((word >> bit) & 1) == 0) part[bit] = kNever;
    }
  }
}

}  // namespace perilune
