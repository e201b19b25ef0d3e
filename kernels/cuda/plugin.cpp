// The C table of plugin.h over a backend: one source for the CUDA plug-in and for the emulator.
#include "kernels/plugin.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>

#include "kernels/cuda/backend.h"
#include "kernels/cuda/caching_allocator.h"
#include "kernels/cuda/cuda_table.h"
#include "kernels/cuda/stream.h"

namespace perilune::kernels {

struct PluginDevice {
  PluginDevice(int at, std::uint64_t budget) : index(at), allocator(budget) {}
  const int index;
  cuda::CachingAllocator allocator;
  cuda::Stream stream;
  PluginDeviceInfo info{};
  const KernelTable* kernels = nullptr;
};

namespace cuda::backend {

int fail(PluginError& error, int status, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(error.text, sizeof error.text, format, arguments);
  va_end(arguments);
  return status;
}

}  // namespace cuda::backend

namespace {

namespace backend = cuda::backend;

/// The first failure of a kernel stays and answers every later call.
int healthy(const PluginDevice& device, PluginError& error) {
  if (device.stream.status == 0) return kPluginDone;
  return backend::fail(error, kPluginPoisoned, "%s", device.stream.message);
}

/// Remembers what poisoned the device. A fault of a kernel shows in a call after it: its name is
/// told.
int noted(PluginDevice& device, int status, PluginError& error) {
  if (status != kPluginPoisoned || device.stream.status != 0) return status;
  const std::size_t length = std::strlen(error.text);
  if (*device.stream.last != '\0') {
    std::snprintf(error.text + length, sizeof error.text - length,
                  "; the kernel started last was %s", device.stream.last);
  }
  cuda::record_failure(device.stream, status, error.text);
  return status;
}

/// The device is well, and the calling thread works on it.
int ready(PluginDevice& device, PluginError& error) {
  const int status = healthy(device, error);
  if (status != kPluginDone) return status;
  return noted(device, backend::select(device.index, error), error);
}

/// Kernels in flight may still use what is given back to the driver.
void trim_cache(void* device) {
  auto& self = *static_cast<PluginDevice*>(device);
  PluginError error{};
  noted(self, backend::synchronize(self.stream.handle, error), error);
  self.allocator.trim();
}

int device_count(PluginError* error) {
  return backend::device_count(*error);
}

int device_info(int index, PluginDeviceInfo* info, PluginError* error) {
  return backend::device_info(index, *info, *error);
}

int open(int index, std::uint64_t budget, PluginDevice** out, PluginError* error) {
  auto device = std::unique_ptr<PluginDevice>(new (std::nothrow) PluginDevice(index, budget));
  if (device == nullptr) return backend::fail(*error, kPluginMemory, "no host memory");
  int status = backend::device_info(index, device->info, *error);
  if (status == kPluginDone) status = backend::select(index, *error);
  if (status != kPluginDone) return status;
  try {
    device->kernels = &cuda::table(device->info.tier);
  } catch (...) {
    return backend::fail(*error, kPluginMemory, "no host memory");
  }
  status = backend::make_stream(&device->stream.handle, *error);
  if (status != kPluginDone) return status;
  device->stream.make_room = trim_cache;
  device->stream.owner = device.get();
  *out = device.release();
  return kPluginDone;
}

void close(PluginDevice* device) {
  PluginError ignored{};
  if (device == nullptr) return;
  backend::select(device->index, ignored);
  backend::synchronize(device->stream.handle, ignored);
  backend::free_stream(device->stream.handle);
  delete device;
}

const KernelTable* kernel_table(PluginDevice* device) {
  return device->kernels;
}

// A kernel starts on the calling thread's current device only: it may have worked on another.
void* stream(PluginDevice* device) {
  PluginError error{};
  ready(*device, error);
  return &device->stream;
}

int allocate(PluginDevice* device, std::uint64_t bytes, void** pointer, PluginError* error) {
  const int status = ready(*device, *error);
  if (status != kPluginDone) return status;
  try {
    return noted(*device, device->allocator.allocate(bytes, pointer, *error), *error);
  } catch (...) {
    return backend::fail(*error, kPluginMemory, "no host memory");
  }
}

void release(PluginDevice* device, void* pointer) {
  try {
    device->allocator.release(pointer);
  } catch (...) {  // no host memory to note it: given back when the device is closed
  }
}

void memory(PluginDevice* device, PluginMemory* memory) {
  PluginError ignored{};
  *memory = {};
  device->allocator.statistics(*memory);
  memory->total = device->info.total_bytes;
  if (ready(*device, ignored) == kPluginDone) backend::memory(memory->total, memory->free);
}

void trim(PluginDevice* device) {
  PluginError ignored{};
  if (ready(*device, ignored) == kPluginDone) trim_cache(device);
}

int allocate_host(PluginDevice* device, std::uint64_t bytes, void** pointer, PluginError* error) {
  const int status = ready(*device, *error);
  if (status != kPluginDone) return status;
  return noted(*device, backend::allocate_host(bytes, pointer, *error), *error);
}

void release_host(PluginDevice* device, void* pointer) {
  PluginError error{};
  if (pointer == nullptr) return;
  // A copy may still read it.
  if (ready(*device, error) == kPluginDone) {
    noted(*device, backend::synchronize(device->stream.handle, error), error);
  }
  backend::release_host(pointer);
}

int copy_in(PluginDevice* device, void* to, const void* host, std::uint64_t bytes,
            PluginError* error) {
  const int status = ready(*device, *error);
  if (status != kPluginDone || bytes == 0) return status;
  return noted(*device, backend::copy_in(device->stream.handle, to, host, bytes, *error), *error);
}

int copy_out(PluginDevice* device, void* host, const void* from, std::uint64_t bytes,
             PluginError* error) {
  const int status = ready(*device, *error);
  if (status != kPluginDone || bytes == 0) return status;
  return noted(*device, backend::copy_out(device->stream.handle, host, from, bytes, *error),
               *error);
}

int synchronize(PluginDevice* device, PluginError* error) {
  const int status = ready(*device, *error);
  if (status != kPluginDone) return status;
  return noted(*device, backend::synchronize(device->stream.handle, *error), *error);
}

std::uint64_t launches(PluginDevice* device) {
  return static_cast<std::uint64_t>(device->stream.launches);
}

}  // namespace
}  // namespace perilune::kernels

extern "C" __attribute__((visibility("default"))) const perilune::kernels::PluginTable*
perilune_plugin(std::uint32_t version) {
  using namespace perilune::kernels;
  static const PluginTable kTable = {
      .version = kPluginVersion,
      .table_bytes = sizeof(PluginTable),
      .kernel_table_bytes = sizeof(KernelTable),
      .kind = cuda::backend::kind(),
      .device_count = device_count,
      .device_info = device_info,
      .open = open,
      .close = close,
      .kernels = kernel_table,
      .stream = stream,
      .allocate = allocate,
      .release = release,
      .memory = memory,
      .trim = trim,
      .allocate_host = allocate_host,
      .release_host = release_host,
      .copy_in = copy_in,
      .copy_out = copy_out,
      .synchronize = synchronize,
      .launches = launches,
  };
  return version == kPluginVersion ? &kTable : nullptr;
}
