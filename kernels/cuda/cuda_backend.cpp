// The CUDA runtime as a plug-in's machine.
#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>

#include "kernels/cuda/backend.h"
#include "kernels/cuda/cuda_error.h"

namespace perilune::kernels::cuda::backend {
namespace {

/// The driver's own call for a thread's context, which the runtime has none for: cudaGetDevice says
/// 0 for a thread that works on nothing, and going back to 0 would make a context there. Null
/// without a driver.
template <class Function>
Function driver_call(const char* name) {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result{};
#if CUDART_VERSION >= 12050
  const cudaError_t status =
      cudaGetDriverEntryPointByVersion(name, &found, 12000, cudaEnableDefault, &result);
#else
  const cudaError_t status = cudaGetDriverEntryPoint(name, &found, cudaEnableDefault, &result);
#endif
  if (status == cudaSuccess && result == cudaDriverEntryPointSuccess) {
    return reinterpret_cast<Function>(found);
  }
  cudaGetLastError();
  return nullptr;
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
  if (properties.major < 8) {
    return fail(error, kPluginFailed, "%s is %s, and kernels need sm_80 or newer", info.name,
                info.tier);
  }
  return kPluginDone;
}

void* current() {
  static const auto get = driver_call<int (*)(void**)>("cuCtxGetCurrent");
  void* context = nullptr;
  if (get != nullptr && get(&context) != 0) context = nullptr;
  return context;
}

void make_current(void* context) {
  static const auto set = driver_call<int (*)(void*)>("cuCtxSetCurrent");
  if (set != nullptr) set(context);
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
  if (cudaMemGetInfo(&now, &all) != cudaSuccess) {
    cudaGetLastError();
    return;
  }
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

int copy_device(void* stream, void* to, const void* from, std::size_t bytes, PluginError& error) {
  return check(
      cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, static_cast<cudaStream_t>(stream)),
      "copy on the GPU", error);
}

int fill(void* stream, void* to, unsigned char byte, std::size_t bytes, PluginError& error) {
  return check(cudaMemsetAsync(to, byte, bytes, static_cast<cudaStream_t>(stream)),
               "fill on the GPU", error);
}

int make_event(void** event, PluginError& error) {
  cudaEvent_t made = nullptr;
  const int status =
      check(cudaEventCreateWithFlags(&made, cudaEventDisableTiming), "making an event", error);
  *event = made;
  return status;
}

int record(void* stream, void* event, PluginError& error) {
  return check(cudaEventRecord(static_cast<cudaEvent_t>(event), static_cast<cudaStream_t>(stream)),
               "recording an event", error);
}

int query(void* event, PluginError& error) {
  const cudaError_t status = cudaEventQuery(static_cast<cudaEvent_t>(event));
  if (status != cudaErrorNotReady) return check(status, "asking for an event", error);
  cudaGetLastError();
  return kPluginPending;
}

int wait(void* event, PluginError& error) {
  return check(cudaEventSynchronize(static_cast<cudaEvent_t>(event)), "waiting for the GPU", error);
}

void free_event(void* event) {
  cudaEventDestroy(static_cast<cudaEvent_t>(event));
}

int synchronize(void* stream, PluginError& error) {
  return check(cudaStreamSynchronize(static_cast<cudaStream_t>(stream)), "waiting for the GPU",
               error);
}

}  // namespace perilune::kernels::cuda::backend
