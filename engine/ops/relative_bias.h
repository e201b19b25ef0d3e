// Attention biases by relative position, as T5 has them.
#pragma once

#include <cstdint>

#include "engine/tensor/tensor.h"

namespace perilune {

/// A T5 style bias, made once and passed to every layer. weight [buckets, head].
struct RelativeBias {
  Tensor weight;  // f32 [buckets, head]
  std::int64_t buckets = 0, max_distance = 0;
  bool bidirectional = false;
};

/// The bucket of a relative position (key - query): Raffel et al. 2020, arXiv:1910.10683, in the
/// published implementation's precision.
std::int64_t relative_bucket(const RelativeBias& bias, std::int64_t relative);

}  // namespace perilune
