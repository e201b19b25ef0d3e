// The CPU as a device: aligned host memory under a budget, the kernel table of one tier.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "engine/base/thread_pool.h"
#include "engine/device/device.h"

namespace perilune {

class CpuDevice final : public Device {
 public:
  /// `budget` bytes; 0: no limit of ours.
  CpuDevice(const kernels::KernelTable& table, std::size_t budget,
            std::shared_ptr<ThreadPool> pool);

  const std::string& name() const override { return name_; }
  DeviceKind kind() const override { return DeviceKind::cpu; }
  const kernels::KernelTable& kernels() const override { return table_; }
  kernels::Launch launch() const override;
  bool host_visible() const override { return true; }

  void* allocate(std::size_t bytes) override;
  void release(void* pointer, std::size_t bytes) noexcept override;
  void copy_in(void* device, const void* host, std::size_t bytes) override;
  void copy_out(void* host, const void* device, std::size_t bytes) override;
  void copy_inside(void* to, const void* from, std::size_t bytes) override;
  void fill(void* to, unsigned char byte, std::size_t bytes) override;
  DeviceMemory memory() const override;

  /// What launch() hands out from now on.
  void set_pool(std::shared_ptr<ThreadPool> pool);

 private:
  /// Counts `bytes` as used; `asked` is for the message of the error.
  void charge(std::size_t bytes, std::size_t asked);

  const kernels::KernelTable& table_;
  const std::string name_ = "cpu";
  const std::size_t budget_;
  const std::size_t total_;  // what the machine holds; 0: not known
  std::atomic<std::size_t> used_{0}, peak_{0};
  mutable std::mutex mutex_;
  std::shared_ptr<ThreadPool> pool_;
};

/// Bytes of memory this process may use at most (the machine's, cut to the cgroup's), and how many
/// of them are free now. 0 where not known.
struct HostMemory {
  std::size_t total = 0, free = 0;
};
HostMemory host_memory();

/// Where CPU memory begins: cache lines, and the widest vectors.
inline constexpr std::size_t kAlignment = 64;

}  // namespace perilune
