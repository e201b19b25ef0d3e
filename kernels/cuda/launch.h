// Starting kernels, on a GPU or in the emulator. launch() never fails: the first error of a stream
// stays in it and is reported where the host next waits for the device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <utility>

#ifndef PERILUNE_EMULATOR
#include "kernels/cuda/backend.h"
#include "kernels/cuda/cuda_error.h"
#endif
#include "kernels/cuda/graph.h"
#include "kernels/cuda/stream.h"
#include "kernels/kernel_table.h"

namespace perilune::kernels::cuda {

struct LaunchConfig {
  dim3 grid, block;
  std::size_t shared_bytes = 0;  // dynamic shared memory a block
};

#ifdef PERILUNE_EMULATOR
template <class Kernel>
bool allow_shared(Stream&, const char*, Kernel, std::size_t) {
  return true;
}
#else
/// A kernel that is recorded is allowed its shared memory at once; false: a plain start tells why
/// it is not.
template <class Kernel>
bool allow_shared(Stream& stream, const char*, Kernel kernel, std::size_t bytes) {
  const void* const function = reinterpret_cast<const void*>(kernel);
  if (bytes <= 48 * 1024 || !stream.must_allow(function, bytes)) return true;
  void* const found = backend::current();
  if (found != stream.context) backend::make_current(stream.context);
  const cudaError_t status = cudaFuncSetAttribute(
      function, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
  if (found != stream.context) backend::make_current(found);
  if (status == cudaSuccess) return true;
  cudaGetLastError();
  stream.allowed.clear();  // asked again, all of them
  return false;
}
#endif

/// Starts `kernel<<<grid, block>>>(arguments...)`; nothing happens on an empty grid or after a
/// failure. `name` is for messages.
template <class... Parameters, class... Arguments>
void launch(const Launch& on, const char* name, const LaunchConfig& config,
            void (*kernel)(Parameters...), Arguments&&... arguments) {
  auto& stream = *static_cast<Stream*>(on.stream);
  if (stream.status != 0 || config.grid.x == 0 || config.grid.y == 0 || config.grid.z == 0) return;
  ++stream.launches;
  Graph* const graph = stream.recording();
  if (graph != nullptr && allow_shared(stream, name, kernel, config.shared_bytes)) {
    const dim3 &grid = config.grid, &block = config.block;
    try {
      graph->add_kernel(name, {grid.x, grid.y, grid.z}, {block.x, block.y, block.z},
                        config.shared_bytes, kernel, arguments...);
    } catch (...) {
      record_refusal(stream, "no host memory to record a kernel in");
    }
    return;
  }
  [[maybe_unused]] const char* const before = stream.last.exchange(name);
#ifdef PERILUNE_EMULATOR
  emulator::run(stream, name, config, [&] { kernel(Parameters(arguments)...); });
#else
  cudaLaunchConfig_t how{};
  how.gridDim = config.grid;
  how.blockDim = config.block;
  how.dynamicSmemBytes = config.shared_bytes;
  how.stream = static_cast<cudaStream_t>(stream.handle);
  const auto start = [&]() -> cudaError_t {
    const void* const function = reinterpret_cast<const void*>(kernel);
    if (config.shared_bytes > 48 * 1024 && stream.must_allow(function, config.shared_bytes)) {
      const cudaError_t status =
          cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(config.shared_bytes));
      if (status != cudaSuccess) {
        stream.allowed.clear();  // asked again, all of them
        return status;
      }
    }
    return cudaLaunchKernelEx(&how, kernel, static_cast<Parameters>(arguments)...);
  };
  void* const found = backend::current();
  if (found != stream.context) backend::make_current(stream.context);
  cudaError_t status = start();
  if (status == cudaErrorMemoryAllocation && stream.make_room != nullptr) {
    cudaGetLastError();
    stream.make_room(stream.owner);
    status = start();
  }
  if (found != stream.context) backend::make_current(found);
  if (status != cudaSuccess) {
    cudaGetLastError();  // clears what does not stick
    char text[256];
    // What an earlier kernel did may show first in this one's start.
    std::snprintf(text, sizeof text, "%s: %s%s%s", name, cudaGetErrorString(status),
                  *before == '\0' ? "" : "; the kernel before was ", before);
    if (poisons(status)) {
      record_failure(stream, static_cast<int>(status), text);
    } else {
      record_refusal(stream, text);
    }
  }
#endif
}

}  // namespace perilune::kernels::cuda
