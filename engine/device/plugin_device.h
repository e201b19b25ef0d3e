// Devices that a plug-in brings: libperilune_cuda.so, and the emulator that runs the same kernels
// on the CPU. Behind the C table of kernels/plugin.h, loaded when such a device is asked for.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "engine/device/device.h"
#include "kernels/plugin.h"

namespace perilune {

/// "cuda:0"; there is one "emulator".
std::string plugin_device_name(const std::string& kind, int index);

/// A plug-in in memory, opened once a process and never closed: kernels of it may still run.
class Plugin {
 public:
  /// `name`: "cuda" or "emulator". Looked for in the folder that PERILUNE_PLUGINS names, beside
  /// this library or program, and where the loader looks. Null with one sentence in `why_not`.
  static std::shared_ptr<const Plugin> load(const std::string& name, std::string& why_not);

  const kernels::PluginTable& table() const { return *table_; }
  /// 0 with the reason.
  int device_count(std::string& why_not) const;

 private:
  explicit Plugin(const kernels::PluginTable* table) : table_(table) {}
  const kernels::PluginTable* table_;
};

/// Allocation failures are Error(memory) and leave the device usable; a failed kernel or driver is
/// Error(device) from then on, and health() says why.
class PluginDevice final : public Device {
 public:
  /// Throws Error(device).
  static std::shared_ptr<PluginDevice> open(std::shared_ptr<const Plugin> plugin, int index,
                                            std::size_t budget);
  ~PluginDevice() override;
  PluginDevice(const PluginDevice&) = delete;
  PluginDevice& operator=(const PluginDevice&) = delete;

  const std::string& name() const override { return name_; }
  DeviceKind kind() const override { return kind_; }
  const kernels::KernelTable& kernels() const override { return *kernels_; }
  kernels::Launch launch() const override;
  bool host_visible() const override { return false; }

  void* allocate(std::size_t bytes) override;
  void release(void* pointer, std::size_t bytes) noexcept override;
  void copy_in(void* device, const void* host, std::size_t bytes) override;
  void copy_out(void* host, const void* device, std::size_t bytes) override;
  void copy_inside(void* to, const void* from, std::size_t bytes) override;
  void fill(void* to, unsigned char byte, std::size_t bytes) override;
  std::unique_ptr<DeviceEvent> make_event() override;
  /// Null with PERILUNE_CUDA_GRAPHS=off.
  std::unique_ptr<DeviceGraph> make_graph() override;
  void synchronize() override;
  DeviceMemory memory() const override;
  std::string health() const override;
  std::uint64_t launches() const override;
  DeviceTraffic traffic() const override;
  /// Calls work(stream) with this device the calling thread's, for libraries that start work there
  /// by themselves: a cudaStream_t, null in the emulator. Throws Error(device), and what work
  /// throws.
  void on_stream(const std::function<void(void* stream)>& work);
  std::string model() const override { return model_; }

 private:
  class Event;
  class Graph;
  PluginDevice(std::shared_ptr<const Plugin> plugin, int index);
  void check(int status, const char* what, const kernels::PluginError& error);

  std::shared_ptr<const Plugin> plugin_;
  kernels::PluginDevice* device_ = nullptr;
  const kernels::KernelTable* kernels_ = nullptr;
  DeviceKind kind_;
  std::string name_, model_;
  std::atomic<std::uint64_t> copies_in_{0}, bytes_in_{0}, copies_out_{0}, bytes_out_{0};
  std::atomic<std::uint64_t> graph_starts_{0}, graph_builds_{0}, graph_updates_{0};
};

}  // namespace perilune
