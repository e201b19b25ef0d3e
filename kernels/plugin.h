// The C table between the engine and a plug-in that brings devices: libperilune_cuda.so, and the
// emulator of the same kernels. Versioned: an engine refuses a plug-in whose version, table size or
// KernelTable size is another than its own. Nothing throws across it; a call that can fail gives 0
// for success, else a PluginStatus, and puts one sentence into `error`.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernel_table.h"

namespace perilune::kernels {

inline constexpr std::uint32_t kPluginVersion = 1;

enum PluginStatus : int {
  kPluginDone = 0,
  kPluginMemory = 1,    // not enough memory: the device stays usable
  kPluginPoisoned = 2,  // a kernel or the driver failed: the device is lost until reopened
  kPluginFailed = 3,    // anything else; the device stays usable
};

/// Where a failed call says why; always ended with a zero.
struct PluginError {
  char text[512];
};

struct PluginDeviceInfo {
  char name[128];  // "NVIDIA H200", "emulator"
  char tier[32];   // "sm_90", "emulator"
  std::uint64_t total_bytes;
  int multiprocessors;
};

struct PluginMemory {
  std::uint64_t total, free;  // of the device, as its driver says
  std::uint64_t used, peak;   // handed out by this opened device, rounded as it allocates
  std::uint64_t cached;       // given back and kept for reuse
  std::uint64_t budget;       // 0: none
};

struct PluginDevice;  // an opened device: its stream and its allocator

struct PluginTable {
  std::uint32_t version;             // kPluginVersion
  std::uint32_t table_bytes;         // sizeof(PluginTable)
  std::uint32_t kernel_table_bytes;  // sizeof(KernelTable)
  const char* kind;                  // "cuda" or "emulator"

  /// Devices that can be opened (CUDA_VISIBLE_DEVICES respected); 0 with the reason in `error`.
  /// Makes no context.
  int (*device_count)(PluginError* error);
  int (*device_info)(int index, PluginDeviceInfo* info, PluginError* error);

  /// `budget` bytes for everything allocated through this handle; 0: no limit of ours.
  int (*open)(int index, std::uint64_t budget, PluginDevice** device, PluginError* error);
  void (*close)(PluginDevice* device);
  const KernelTable* (*kernels)(PluginDevice* device);
  /// What goes into Launch::stream: all work of a device is ordered on it. The calling thread works
  /// on this device from now on; asked anew for every op, since it may have turned to another.
  void* (*stream)(PluginDevice* device);

  /// 256-byte aligned device memory, from the device's cache where it can. kPluginMemory leaves
  /// everything as it was.
  int (*allocate)(PluginDevice* device, std::uint64_t bytes, void** pointer, PluginError* error);
  void (*release)(PluginDevice* device, void* pointer);
  void (*memory)(PluginDevice* device, PluginMemory* memory);
  /// Gives cached memory back to the driver.
  void (*trim)(PluginDevice* device);

  /// Pinned host memory: copies from and to it run beside the device's work.
  int (*allocate_host)(PluginDevice* device, std::uint64_t bytes, void** pointer,
                       PluginError* error);
  /// Waits for copies that still use it.
  void (*release_host)(PluginDevice* device, void* pointer);

  /// Ordered on the stream. copy_in may return before the copy is done only where `host` is pinned;
  /// copy_out waits for it and reports what failed before it.
  int (*copy_in)(PluginDevice* device, void* to, const void* host, std::uint64_t bytes,
                 PluginError* error);
  int (*copy_out)(PluginDevice* device, void* host, const void* from, std::uint64_t bytes,
                  PluginError* error);
  /// Waits for all work; a failed kernel is reported here at the latest.
  int (*synchronize)(PluginDevice* device, PluginError* error);
  /// Kernels started so far.
  std::uint64_t (*launches)(PluginDevice* device);
};

}  // namespace perilune::kernels

/// The one symbol of a plug-in; null when it was built for another version.
extern "C" const perilune::kernels::PluginTable* perilune_plugin(std::uint32_t version);
