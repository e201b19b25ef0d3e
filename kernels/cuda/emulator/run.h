// A launch: all blocks of the grid, one after the other.
#pragma once

#include <functional>

#include "kernels/cuda/emulator/index.h"
#include "kernels/cuda/stream.h"

namespace perilune::kernels::cuda {

struct LaunchConfig;

namespace emulator {

/// Runs `kernel` once for every thread of every block. The first fault found stays in the stream;
/// the blocks after it do not run.
void run(Stream& stream, const char* name, const LaunchConfig& config,
         const std::function<void()>& kernel);

}  // namespace emulator
}  // namespace perilune::kernels::cuda
