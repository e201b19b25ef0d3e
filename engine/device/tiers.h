// What the kernels of a device are, for those that have no business with the kernels themselves.
#pragma once

#include <string>
#include <vector>

#include "engine/device/device.h"

namespace perilune {

struct KernelTraits {
  std::string tier;            // "avx2", "sm_90", ...
  bool fast_bf16 = false;      // products in bf16 cost less than in f32
  bool exact_f32_fma = false;  // one rounding for a product and a sum
  bool coded = false;          // multiplies weights of few bits as they are
};
KernelTraits kernel_traits(const Device& device);

/// The CPU tiers that this processor can run, the plainest first.
std::vector<std::string> usable_cpu_tiers();

}  // namespace perilune
