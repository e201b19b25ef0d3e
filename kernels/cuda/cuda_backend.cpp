// The CUDA runtime as a plug-in's machine.
#include <cuda_runtime.h>

#include <cstdio>
#include <cstring>

#include "kernels/cuda/backend.h"

namespace perilune::kernels::cuda::backend {
namespace {

/// Errors that leave the context unusable (CUDA Runtime API, error handling).
bool poisons(cudaError_t status) {
  switch (status) {
    case cudaErrorMemoryAllocation:
    case cudaErrorInvalidValue:
    case cudaErrorInvalidDevice:
    case cudaErrorInvalidConfiguration:
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver: return false;
    default: return true;
  }
}

int check(cudaError_t status, const char* what, PluginError& error) {
  if (status == cudaSuccess) return kPluginDone;
  cudaGetLastError();  // clears what does not stick
  if (status == cudaErrorMemoryAllocation) {
    return fail(error, kPluginMemory, "%s: out of device memory", what);
  }
  return fail(error, poisons(status) ? kPluginPoisoned : kPluginFailed, "%s: %s (%s)", what,
              cudaGetErrorString(status), cudaGetErrorName(status));
}

}  // namespace

const char* kind() {
  return "cuda";
}

int device_count(PluginError& error) {
  int count = 0;
  const int status = check(cudaGetDeviceCount(&count), "counting GPUs", error);
  if (status != kPluginDone) return 0;
  if (count == 0) fail(error, kPluginFailed, "the driver shows no GPU");
  return count;
}

int device_info(int index, PluginDeviceInfo& info, PluginError& error) {
  cudaDeviceProp properties{};
  const int status = check(cudaGetDeviceProperties(&properties, index), "asking the GPU", error);
  if (status != kPluginDone) return status;
  info = {};
  std::snprintf(info.name, sizeof info.name, "%.127s", properties.name);
  std::snprintf(info.tier, sizeof info.tier, "sm_%d%d", properties.major, properties.minor);
  info.total_bytes = properties.totalGlobalMem;
  info.multiprocessors = properties.multiProcessorCount;
  if (properties.major < 8) {
    return fail(error, kPluginFailed, "%s is %s, and kernels need sm_80 or newer", info.name,
                info.tier);
  }
  return kPluginDone;
}

int select(int index, PluginError& error) {
  return check(cudaSetDevice(index), "choosing the GPU", error);
}

int make_stream(void** handle, PluginError& error) {
  cudaStream_t stream = nullptr;
  const int status =
      check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "making a stream", error);
  *handle = stream;
  return status;
}

void free_stream(void* handle) {
  cudaStreamDestroy(static_cast<cudaStream_t>(handle));
}

int allocate(std::size_t bytes, void** pointer, PluginError& error) {
  return check(cudaMalloc(pointer, bytes), "allocate", error);
}

void release(void* pointer) {
  cudaFree(pointer);
}

int allocate_host(std::size_t bytes, void** pointer, PluginError& error) {
  return check(cudaMallocHost(pointer, bytes), "allocate pinned memory", error);
}

void release_host(void* pointer) {
  cudaFreeHost(pointer);
}

void memory(std::uint64_t& total, std::uint64_t& free) {
  std::size_t now = 0, all = 0;
  if (cudaMemGetInfo(&now, &all) != cudaSuccess) return;
  total = all;
  free = now;
}

void lent(void*, std::size_t, std::size_t, bool) {}

int copy_in(void* stream, void* to, const void* host, std::size_t bytes, PluginError& error) {
  return check(
      cudaMemcpyAsync(to, host, bytes, cudaMemcpyHostToDevice, static_cast<cudaStream_t>(stream)),
      "copy to the GPU", error);
}

int copy_out(void* stream, void* host, const void* from, std::size_t bytes, PluginError& error) {
  const int status = check(
      cudaMemcpyAsync(host, from, bytes, cudaMemcpyDeviceToHost, static_cast<cudaStream_t>(stream)),
      "copy from the GPU", error);
  return status != kPluginDone ? status : synchronize(stream, error);
}

int synchronize(void* stream, PluginError& error) {
  return check(cudaStreamSynchronize(static_cast<cudaStream_t>(stream)), "waiting for the GPU",
               error);
}

}  // namespace perilune::kernels::cuda::backend
