#include "engine/device/tiers.h"

namespace perilune {

KernelTraits kernel_traits(const Device& device) {
  const kernels::KernelTable& table = device.kernels();
  return {table.tier, table.fast_bf16, table.exact_f32_fma, table.pack_coded != nullptr};
}

std::vector<std::string> usable_cpu_tiers() {
  std::vector<std::string> names;
  for (int i = 0; const char* name = kernels::cpu_tier_name(i); ++i) {
    if (kernels::cpu_table(name) != nullptr) names.emplace_back(name);
  }
  return names;
}

}  // namespace perilune
