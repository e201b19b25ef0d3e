// One per engine instance: devices, budgets, threads, log and warning sinks. There is no
// process-wide state; two contexts in one process do not know of each other.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/shape.h"
#include "engine/base/thread_pool.h"
#include "engine/device/device.h"

namespace perilune {

class CpuDevice;

struct ContextOptions {
  int threads = 0;                  // 0: what this process may use
  std::string cpu_tier;             // "": the best there is, or PERILUNE_CPU where set
  std::size_t memory_budget = 0;    // bytes of tensors, for each device; 0: no limit of ours
  kernels::Parallel host_parallel;  // run == null: our own threads
  std::function<void(std::string_view text, std::string_view where)> on_warning;
};

/// A GPU that is there and not in use.
struct IdleDevice {
  std::string name, model, tier;  // "cuda:0", "NVIDIA H200", "sm_90"
  std::uint64_t bytes = 0;        // of its memory
};

class Context : public std::enable_shared_from_this<Context> {
 public:
  /// Throws for a tier that is unknown or that this processor lacks.
  static std::shared_ptr<Context> make(const ContextOptions& options = {});
  ~Context();

  /// The CPU; always there.
  Device& cpu() const;
  std::shared_ptr<Device> cpu_device() const;
  /// "auto", "cpu", "cuda", "cuda:0", "emulator". Throws for an unknown name, or saying in one
  /// sentence what was looked for and not found.
  /// Opened once and kept; memory_budget bounds each device's tensors.
  std::shared_ptr<Device> device(std::string_view name) const;
  /// The CPU and every other device that was asked for.
  std::vector<std::shared_ptr<Device>> devices() const;
  /// The GPUs that nothing has asked for yet. They are only looked at: no context is made.
  std::vector<IdleDevice> idle_devices() const;
  /// The handle of one of them. Throws Error(device) for a device of another context.
  std::shared_ptr<Device> shared(const Device& device) const;

  int threads() const;
  /// Changes the number of threads; not while something runs.
  void set_threads(int threads);
  kernels::Parallel parallel() const;
  /// A pool of this many threads for those who want a number of their own (a model's `threads=`);
  /// shared by all who ask for the same number, gone with the last of them. Throws Error(option)
  /// for a number that cannot be, Error(state) where the host lends its own threads.
  std::shared_ptr<ThreadPool> pool_of(int threads) const;

  /// A number no other axis of this context has.
  AxisIdentity new_identity() { return next_identity_.fetch_add(1, std::memory_order_relaxed); }

  void warn(std::string_view text, std::string_view where = {}) const;
  void set_warning_sink(std::function<void(std::string_view, std::string_view)> sink);

  /// Set from any thread or a signal handler: passes stop between two ops with Error(cancelled).
  void interrupt() { interrupted_.store(true, std::memory_order_relaxed); }
  void clear_interrupt() { interrupted_.store(false, std::memory_order_relaxed); }
  bool interrupted() const { return interrupted_.load(std::memory_order_relaxed); }

 private:
  explicit Context(const ContextOptions& options);

  std::shared_ptr<ThreadPool> pool_;
  std::shared_ptr<CpuDevice> cpu_;
  std::atomic<AxisIdentity> next_identity_{kFirstBatchIdentity};
  std::atomic<bool> interrupted_{false};
  std::shared_ptr<Device> plugin_device(const std::string& kind, int index, bool required) const;
  std::shared_ptr<Device> automatic_device() const;

  std::size_t memory_budget_;
  mutable std::mutex devices_mutex_, automatic_mutex_, pools_mutex_;
  mutable std::map<int, std::weak_ptr<ThreadPool>> pools_;  // by number of threads
  mutable std::vector<std::shared_ptr<Device>> opened_;
  mutable std::shared_ptr<Device> automatic_;  // what "auto" came to
  mutable std::mutex sink_mutex_;
  std::function<void(std::string_view, std::string_view)> warning_sink_;
};

/// Seconds, monotonic.
double clock_seconds();

}  // namespace perilune
