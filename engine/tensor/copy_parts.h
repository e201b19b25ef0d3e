// Long copies of elements, cut so that an interrupt is seen on the way.
#pragma once

#include "kernels/kernel_table.h"

namespace perilune {

/// Runs the copy, a long one in parts along its first axis: throws Error(cancelled) between two
/// parts where the host has interrupted.
void copy_in_parts(const kernels::KernelTable& kernels, const kernels::Launch& launch,
                   kernels::CopyArguments arguments);

}  // namespace perilune
