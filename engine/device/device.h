// A device: memory and the kernel table that works on it. The CPU is one; a CUDA plug-in and its
// emulator are others behind the same interface.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "kernels/kernel_table.h"

namespace perilune {

enum class DeviceKind { cpu, cuda, emulator };

/// What a device holds and lends. Thread-safe.
struct DeviceMemory {
  std::size_t total = 0, free = 0, used = 0, peak = 0, budget = 0;
};

/// Copies between host and device so far.
struct DeviceTraffic {
  std::uint64_t copies_in = 0, bytes_in = 0;    // to the device
  std::uint64_t copies_out = 0, bytes_out = 0;  // to the host, each waited for
  std::uint64_t graph_starts = 0;               // passes that were started in one call
  std::uint64_t graph_builds = 0;               // times that the device's copy of one was made
  std::uint64_t graph_updates = 0;  // pieces of such a copy that were brought up to date
};

/// A point in a device's work, to look at or wait for without stopping what comes after it. One
/// host thread at a time; it may not outlive its device.
class DeviceEvent {
 public:
  virtual ~DeviceEvent() = default;
  /// The end of all work that was started before.
  virtual void record() = 0;
  /// Whether the device has got there; true before the first record(). Throws Error(device) for
  /// what failed until then.
  virtual bool done() = 0;
  /// Waits for it; throws as done() does.
  virtual void wait() = 0;
};

/// A pass that a device is given in one call: what is started between begin() and end(), copies to
/// it and in it included, is recorded there and starts at end(). Of the calling thread's work
/// alone; it may not outlive its device.
class DeviceGraph {
 public:
  virtual ~DeviceGraph() = default;
  /// False: it is not to be had, and work starts as it comes. Throws as Device's copies do.
  virtual bool begin() = 0;
  virtual void end() = 0;
  /// Nothing of what was recorded is started.
  virtual void abandon() noexcept = 0;
};

class Device {
 public:
  virtual ~Device() = default;
  virtual const std::string& name() const = 0;  // "cpu", "cuda:0", "emulator"
  virtual DeviceKind kind() const = 0;
  virtual const kernels::KernelTable& kernels() const = 0;
  virtual kernels::Launch launch() const = 0;  // scratch not set
  /// True when a pointer of this device can be read by the CPU.
  virtual bool host_visible() const = 0;

  /// 64-byte aligned. Throws Error(memory) with the bytes asked for, used and allowed.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* pointer, std::size_t bytes) noexcept = 0;
  /// `host` has been read when it returns.
  virtual void copy_in(void* device, const void* host, std::size_t bytes) = 0;
  virtual void copy_out(void* host, const void* device, std::size_t bytes) = 0;
  /// Within the device's memory, in order with its other work.
  virtual void copy_inside(void* to, const void* from, std::size_t bytes) = 0;
  virtual void fill(void* to, unsigned char byte, std::size_t bytes) = 0;
  /// Null for a device whose work is done when a call returns.
  virtual std::unique_ptr<DeviceEvent> make_event() { return nullptr; }
  /// Null for a device that takes its work piece by piece.
  virtual std::unique_ptr<DeviceGraph> make_graph() { return nullptr; }
  /// Waits for all work. Throws Error(device) for what failed in it.
  virtual void synchronize() {}
  virtual DeviceMemory memory() const = 0;
  /// "" or why the device cannot be used any more.
  virtual std::string health() const { return ""; }
  /// Kernels started so far; 0 where they are plain calls.
  virtual std::uint64_t launches() const { return 0; }
  virtual DeviceTraffic traffic() const { return {}; }
  /// What the device is, in its maker's words; "" where that says nothing.
  virtual std::string model() const { return ""; }
};

}  // namespace perilune
