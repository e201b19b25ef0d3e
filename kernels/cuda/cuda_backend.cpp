// The CUDA runtime as a plug-in's machine.
#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>

#include "kernels/cuda/backend.h"

namespace perilune::kernels::cuda::backend {
namespace {

/// Whether the context is unusable (CUDA Runtime API, cudaError): what the call itself refused
/// passes, all else may stay.
bool poisons(cudaError_t status) {
  switch (status) {
    case cudaErrorMemoryAllocation:
    case cudaErrorInvalidValue:
    case cudaErrorInvalidDevice:
    case cudaErrorInvalidConfiguration:
    case cudaErrorInvalidDevicePointer:
    case cudaErrorInvalidMemcpyDirection:
    case cudaErrorInvalidResourceHandle:
    case cudaErrorNotSupported:
    case cudaErrorNotPermitted:
    case cudaErrorNoDevice:
    case cudaErrorDevicesUnavailable:
    case cudaErrorInitializationError:
    case cudaErrorSystemNotReady:
    case cudaErrorSystemDriverMismatch:
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
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess && count > 0) return count;
  cudaGetLastError();
  if (status == cudaErrorInsufficientDriver) {
    // Also what a machine without any driver answers.
    int driver = 0, needed = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&needed);
    if (driver == 0) return fail(error, 0, "no NVIDIA driver (libcuda.so.1) was found");
    return fail(error, 0, "the NVIDIA driver is for CUDA %d.%d, and one for CUDA %d is needed",
                driver / 1000, driver % 1000 / 10, needed / 1000);
  }
  if (status == cudaSuccess || status == cudaErrorNoDevice) {
    const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
    if (visible == nullptr) return fail(error, 0, "the NVIDIA driver shows no GPU");
    return fail(error, 0, "the NVIDIA driver shows no GPU with CUDA_VISIBLE_DEVICES=\"%.200s\"",
                visible);
  }
  check(status, "counting GPUs", error);
  return 0;
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
