#include "engine/device/cpu_device.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>

#include "engine/base/error.h"

namespace perilune {
namespace {

constexpr std::size_t kPage = std::size_t{4} << 10;
constexpr std::size_t kPagesFrom = std::size_t{4} << 20;   // in whole pages from here on
constexpr std::size_t kLookFrom = std::size_t{256} << 20;  // asks the system how much it has left

/// What an allocation of `bytes` is charged; 0 when it cannot be counted.
std::size_t charged_bytes(std::size_t bytes) {
  const std::size_t unit = bytes >= kPagesFrom ? kPage : kAlignment;
  if (bytes > std::numeric_limits<std::size_t>::max() / 2) return 0;
  return (std::max<std::size_t>(bytes, 1) + unit - 1) / unit * unit;
}

std::size_t cgroup_memory_limit() {
  for (const char* path :
       {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    std::ifstream file(path);
    std::size_t limit = 0;
    if (file >> limit) return limit;
  }
  return std::numeric_limits<std::size_t>::max();
}

std::size_t available_bytes() {
  std::ifstream file("/proc/meminfo");
  for (std::string word; file >> word;) {
    std::size_t kilobytes = 0;
    if (word == "MemAvailable:" && file >> kilobytes) return kilobytes * 1024;
  }
  return 0;
}

[[noreturn]] void throw_out_of_memory(std::size_t bytes, std::size_t used, std::size_t budget) {
  std::string problem = std::to_string(bytes) + " bytes asked, " + std::to_string(used) + " in use";
  if (budget != 0) problem += ", budget " + std::to_string(budget);
  Error error(ErrorCode::memory, "allocate", std::move(problem));
  error.where("host memory (cpu)")
      .hint(
          budget != 0
              ? "free tensors, use shorter rows or fewer at once, or give a larger budget"
              : "free tensors, use shorter rows or fewer at once: the machine has no more memory");
  throw error;
}

}  // namespace

HostMemory host_memory() {
  const long pages = sysconf(_SC_PHYS_PAGES);
  const long page = sysconf(_SC_PAGESIZE);
  if (pages <= 0 || page <= 0) return {};
  HostMemory memory;
  memory.total = std::min(static_cast<std::size_t>(pages) * static_cast<std::size_t>(page),
                          cgroup_memory_limit());
  memory.free = std::min(available_bytes(), memory.total);
  return memory;
}

CpuDevice::CpuDevice(const kernels::KernelTable& table, std::size_t budget,
                     std::shared_ptr<ThreadPool> pool)
    : table_(table), budget_(budget), total_(host_memory().total), pool_(std::move(pool)) {}

kernels::Launch CpuDevice::launch() const {
  const std::lock_guard lock(mutex_);
  kernels::Launch launch;
  launch.parallel = pool_->parallel();
  return launch;
}

void CpuDevice::set_pool(std::shared_ptr<ThreadPool> pool) {
  const std::lock_guard lock(mutex_);
  pool_.swap(pool);
}

void CpuDevice::charge(std::size_t bytes, std::size_t asked) {
  std::size_t used = used_.load(std::memory_order_relaxed);
  // More than the machine holds would be granted by an overcommitting kernel and killed later.
  std::size_t most = total_ == 0 ? std::numeric_limits<std::size_t>::max() : total_;
  if (budget_ != 0) most = std::min(most, budget_);
  do {
    if (bytes > most || used > most - bytes) {
      throw_out_of_memory(asked, used, budget_);
    }
  } while (!used_.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
  std::size_t peak = peak_.load(std::memory_order_relaxed);
  while (peak < used + bytes &&
         !peak_.compare_exchange_weak(peak, used + bytes, std::memory_order_relaxed)) {
  }
}

void* CpuDevice::allocate(std::size_t bytes) {
  const std::size_t charged = charged_bytes(bytes);
  const bool large = charged >= kLookFrom && total_ != 0;
  if (charged == 0 || (large && charged > host_memory().free)) {
    throw_out_of_memory(bytes, used_.load(std::memory_order_relaxed), budget_);
  }
  charge(charged, bytes);
  void* pointer = nullptr;
  // Huge pages are not asked for: where a virtual machine has given free ones back, getting them
  // again takes longer than loading does, and products run no slower without (docs/performance.md).
  const std::size_t alignment = charged >= kPagesFrom ? kPage : kAlignment;
  if (posix_memalign(&pointer, alignment, charged) != 0) {
    used_.fetch_sub(charged, std::memory_order_relaxed);
    throw_out_of_memory(bytes, used_.load(std::memory_order_relaxed), budget_);
  }
  return pointer;
}

void CpuDevice::release(void* pointer, std::size_t bytes) noexcept {
  if (pointer == nullptr) return;
  std::free(pointer);
  used_.fetch_sub(charged_bytes(bytes), std::memory_order_relaxed);
}

void CpuDevice::copy_in(void* device, const void* host, std::size_t bytes) {
  if (bytes != 0) std::memcpy(device, host, bytes);
}

void CpuDevice::copy_out(void* host, const void* device, std::size_t bytes) {
  if (bytes != 0) std::memcpy(host, device, bytes);
}

void CpuDevice::copy_inside(void* to, const void* from, std::size_t bytes) {
  if (bytes != 0) std::memmove(to, from, bytes);
}

void CpuDevice::fill(void* to, unsigned char byte, std::size_t bytes) {
  if (bytes != 0) std::memset(to, byte, bytes);
}

DeviceMemory CpuDevice::memory() const {
  const HostMemory host = host_memory();
  DeviceMemory memory;
  memory.total = host.total;
  memory.free = host.free;
  memory.used = used_.load(std::memory_order_relaxed);
  memory.peak = peak_.load(std::memory_order_relaxed);
  memory.budget = budget_;
  return memory;
}

}  // namespace perilune
