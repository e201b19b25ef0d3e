// The tables of the instruction-set tiers. Each is compiled for its own processors, in a namespace
// of its own, and may be called only where cpu_table() found those.
#pragma once

#include "kernels/kernel_table.h"

namespace perilune::kernels {
namespace v2 {
const KernelTable& table();
}
namespace avx2 {
const KernelTable& table();
}
namespace avx512 {
const KernelTable& table();
}
}  // namespace perilune::kernels
