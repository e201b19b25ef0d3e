// The C table between the engine and a plug-in that brings devices: libperilune_cuda.so, and the
// emulator of the same kernels. Versioned: an engine refuses a plug-in whose version, table size or
// KernelTable size is another than its own. Nothing throws across it; a call that can fail gives 0
// for success, else a PluginStatus, and puts one sentence into `error`.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernel_table.h"

namespace perilune::kernels {

inline constexpr std::uint32_t kPluginVersion = 4;

enum PluginStatus : int {
  kPluginDone = 0,
  kPluginMemory = 1,    // not enough memory: the device stays usable
  kPluginPoisoned = 2,  // a kernel or the driver failed: the device is lost until reopened
  kPluginFailed = 3,    // anything else; the device stays usable
  kPluginPending = 4,   // event_query: not done yet
};

/// Where a failed call says why; always ended with a zero.
struct PluginError {
  char text[512];
};

struct PluginDeviceInfo {
  char name[128];  // "NVIDIA H200", "emulator"
  char tier[32];   // "sm_90", "emulator"
  std::uint64_t total_bytes;
};

struct PluginMemory {
  std::uint64_t total, free;  // of the device, as its driver says
  std::uint64_t used, peak;   // handed out by this opened device, rounded as it allocates
  std::uint64_t cached;       // given back and kept for reuse
  std::uint64_t budget;       // 0: none
};

struct PluginDevice;  // an opened device: its stream and its allocator
struct PluginEvent;   // a point in a device's work
struct PluginGraph;   // the work of a pass, given to the device in one call

struct PluginGraphCounts {
  std::uint64_t kernels, copies;  // of the last recording
  std::uint64_t starts;           // in one call
  std::uint64_t builds;           // times that the device's copy was made
  std::uint64_t updates;          // pieces of it that were brought up to date
};

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
  /// What goes into Launch::stream: all work of a device is ordered on it. Stays the same until the
  /// device is closed. Neither this nor any other call leaves the calling thread on another device
  /// than it found it on.
  void* (*stream)(PluginDevice* device);

  /// 256-byte aligned device memory, from the device's cache where it can. kPluginMemory leaves
  /// everything as it was.
  int (*allocate)(PluginDevice* device, std::uint64_t bytes, void** pointer, PluginError* error);
  void (*release)(PluginDevice* device, void* pointer);
  void (*memory)(PluginDevice* device, PluginMemory* memory);

  /// Ordered on the stream. `host` has been read when copy_in returns (by way of pinned memory of
  /// the plug-in's own), the device may not have it yet; copy_out waits for the copy and reports
  /// what failed before it.
  int (*copy_in)(PluginDevice* device, void* to, const void* host, std::uint64_t bytes,
                 PluginError* error);
  int (*copy_out)(PluginDevice* device, void* host, const void* from, std::uint64_t bytes,
                  PluginError* error);
  /// Inside the device, ordered on the stream; returns before it is done.
  int (*copy_device)(PluginDevice* device, void* to, const void* from, std::uint64_t bytes,
                     PluginError* error);
  int (*fill)(PluginDevice* device, void* to, unsigned char byte, std::uint64_t bytes,
              PluginError* error);

  /// record: the event is the end of all work that was started before. query: kPluginDone when the
  /// device has got there, kPluginPending before; both report what failed until then. wait: the
  /// host waits. An event that was never recorded is done.
  int (*event_create)(PluginDevice* device, PluginEvent** event, PluginError* error);
  int (*event_record)(PluginDevice* device, PluginEvent* event, PluginError* error);
  int (*event_query)(PluginDevice* device, PluginEvent* event, PluginError* error);
  int (*event_wait)(PluginDevice* device, PluginEvent* event, PluginError* error);
  void (*event_destroy)(PluginDevice* device, PluginEvent* event);

  /// begin: kernels, copies to and inside the device and fills are recorded from here on and start
  /// together at graph_end; `*graph` is made where it is null. The same work in the same order
  /// costs one call; what differs from the last recording is brought up to date by itself. What a
  /// graph cannot hold (copy_out, event_record, synchronize) starts what was recorded and ends
  /// recording: graph_end then does nothing more, and graph_fits is 0 where that happened several
  /// times one after the other. Of the calling thread's work alone: kPluginPending where another
  /// thread records. abandon: nothing is started.
  int (*graph_begin)(PluginDevice* device, PluginGraph** graph, PluginError* error);
  int (*graph_end)(PluginDevice* device, PluginGraph* graph, PluginError* error);
  void (*graph_abandon)(PluginDevice* device, PluginGraph* graph);
  int (*graph_fits)(PluginDevice* device, PluginGraph* graph);
  void (*graph_counts)(PluginDevice* device, PluginGraph* graph, PluginGraphCounts* counts);
  void (*graph_destroy)(PluginDevice* device, PluginGraph* graph);

  /// Calls work(data, stream, error) with the device the calling thread's, for libraries that start
  /// work there by themselves; `stream`: a cudaStream_t, null in the emulator. Gives work's status.
  int (*on_stream)(PluginDevice* device, int (*work)(void* data, void* stream, PluginError* error),
                   void* data, PluginError* error);

  /// Waits for all work; a failed kernel is reported here at the latest.
  int (*synchronize)(PluginDevice* device, PluginError* error);
  /// Waits for all work; kPluginPoisoned with the reason when the device is lost, else kPluginDone.
  int (*health)(PluginDevice* device, PluginError* error);
  /// Kernels started so far.
  std::uint64_t (*launches)(PluginDevice* device);
};

}  // namespace perilune::kernels

/// The one symbol of a plug-in; null when it was built for another version.
extern "C" const perilune::kernels::PluginTable* perilune_plugin(std::uint32_t version);
