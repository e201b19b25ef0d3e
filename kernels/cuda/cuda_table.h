// The kernel table of CUDA devices, on a GPU or in the emulator.
#pragma once

#include "kernels/kernel_table.h"

namespace perilune::kernels::cuda {

/// `tier`: "sm_80", "sm_90", … or "emulator"; kept as the table's name.
const KernelTable& table(const char* tier);

}  // namespace perilune::kernels::cuda
