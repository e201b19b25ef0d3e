// What this machine can do, measured: the yardstick that benchmarks are held against.
#pragma once

#include "engine/device/context.h"

namespace perilune {

/// Bytes per second that all threads of the context read together from a buffer far larger than the
/// caches; the best of a few passes. Takes about a tenth of a second. Throws Error(memory).
double memory_bandwidth(Context& context);

}  // namespace perilune
