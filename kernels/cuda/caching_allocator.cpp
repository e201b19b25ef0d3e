#include "kernels/cuda/caching_allocator.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <limits>

namespace perilune::kernels::cuda {
namespace {

constexpr std::uint64_t kSmallUnit = 512;
constexpr std::uint64_t kLargeFrom = std::uint64_t{1} << 20;
constexpr std::uint64_t kMostUnit = std::uint64_t{2} << 20;  // a device page

/// Few distinct sizes, and at most an eighth of slack. 0 when it cannot be counted.
std::uint64_t rounded(std::uint64_t bytes) {
  if (bytes > std::numeric_limits<std::uint64_t>::max() / 2) return 0;
  const std::uint64_t unit =
      bytes >= kLargeFrom ? std::min(kMostUnit, std::bit_floor(bytes) / 8) : kSmallUnit;
  return (std::max<std::uint64_t>(bytes, 1) + unit - 1) / unit * unit;
}

/// PERILUNE_CUDA_ALLOCATOR=exact: for a memory checker, which sees no overrun inside a block that
/// is larger than what was asked for, and no use of a block that was kept.
bool exact_asked() {
  const char* asked = std::getenv("PERILUNE_CUDA_ALLOCATOR");
  return asked != nullptr && std::strcmp(asked, "exact") == 0;
}

}  // namespace

CachingAllocator::CachingAllocator(std::uint64_t budget) : budget_(budget), exact_(exact_asked()) {}

CachingAllocator::~CachingAllocator() {
  trim();
  for (const auto& [pointer, size] : lent_) backend::release(pointer);
}

void* CachingAllocator::take_cached(std::uint64_t size) {
  const auto found = cached_.lower_bound(size);
  // A block more than a quarter too large would hide memory that others could use.
  if (found == cached_.end() || found->first > size + size / 4) return nullptr;
  void* pointer = found->second;
  lent_.emplace(pointer, found->first);
  cached_bytes_ -= found->first;
  used_ += found->first;
  cached_.erase(found);
  return pointer;
}

int CachingAllocator::allocate(std::uint64_t bytes, void** pointer, PluginError& error) {
  const std::lock_guard lock(mutex_);
  const std::uint64_t size = exact_ ? std::max<std::uint64_t>(bytes, 1) : rounded(bytes);
  const auto refuse = [&] {
    using Count = unsigned long long;
    char limit[96] = "";
    std::uint64_t total = 0, free = 0;
    if (budget_ == 0) backend::memory(total, free);
    if (budget_ != 0) std::snprintf(limit, sizeof limit, ", budget %llu", Count{budget_});
    if (total != 0) {
      std::snprintf(limit, sizeof limit, ", %llu free of %llu", Count{free}, Count{total});
    }
    return backend::fail(error, kPluginMemory, "%llu bytes asked, %llu in use%s", Count{bytes},
                         Count{used_}, limit);
  };
  if (size == 0 || (budget_ != 0 && (size > budget_ || used_ > budget_ - size))) return refuse();
  void* block = take_cached(size);
  if (block == nullptr) {
    if (budget_ != 0 && used_ + cached_bytes_ > budget_ - size) trim_locked();
    int status = backend::allocate(size, &block, error);
    if (status == kPluginMemory && !cached_.empty()) {
      trim_locked();
      status = backend::allocate(size, &block, error);
    }
    if (status == kPluginMemory) return refuse();
    if (status != kPluginDone) return status;
    try {
      lent_.emplace(block, size);
    } catch (...) {
      backend::release(block);
      throw;
    }
    used_ += size;
  }
  peak_ = std::max(peak_, used_);
  backend::lent(block, bytes, lent_.at(block), true);
  *pointer = block;
  return kPluginDone;
}

void CachingAllocator::release(void* pointer) {
  const std::lock_guard lock(mutex_);
  const auto found = lent_.find(pointer);
  if (found == lent_.end()) return;
  const std::uint64_t size = found->second;
  if (exact_) {
    backend::release(pointer);
    lent_.erase(found);
    used_ -= size;
    return;
  }
  cached_.emplace(size, pointer);
  backend::lent(pointer, 0, size, false);
  lent_.erase(found);
  used_ -= size;
  cached_bytes_ += size;
}

void CachingAllocator::trim_locked() {
  for (const auto& [size, pointer] : cached_) backend::release(pointer);
  cached_.clear();
  cached_bytes_ = 0;
}

void CachingAllocator::trim() {
  const std::lock_guard lock(mutex_);
  trim_locked();
}

void CachingAllocator::statistics(PluginMemory& memory) const {
  const std::lock_guard lock(mutex_);
  memory.used = used_;
  memory.peak = peak_;
  memory.cached = cached_bytes_;
  memory.budget = budget_;
}

}  // namespace perilune::kernels::cuda
