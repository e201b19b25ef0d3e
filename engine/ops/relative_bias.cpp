#include "engine/ops/relative_bias.h"

#include <algorithm>
#include <cmath>

namespace perilune {

std::int64_t relative_bucket(const RelativeBias& bias, std::int64_t relative) {
  std::int64_t buckets = bias.buckets, bucket = 0;
  if (bias.bidirectional) {
    buckets /= 2;
    if (relative > 0) bucket += buckets;
    relative = relative < 0 ? -relative : relative;
  } else {
    relative = relative < 0 ? -relative : 0;
  }
  const std::int64_t exact = buckets / 2;
  if (relative < exact) return bucket + relative;
  const float ratio = std::log(static_cast<float>(relative) / static_cast<float>(exact));
  const auto range = static_cast<float>(
      std::log(static_cast<double>(bias.max_distance) / static_cast<double>(exact)));
  const auto large =
      exact + static_cast<std::int64_t>(ratio / range * static_cast<float>(buckets - exact));
  return bucket + std::min(large, buckets - 1);
}

}  // namespace perilune
