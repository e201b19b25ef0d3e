// Device memory that is given back is kept and handed out again, since asking the driver costs more
// than a kernel. Blocks are never split: sizes are rounded so that few distinct ones occur (not
// with PERILUNE_CUDA_ALLOCATOR=exact, for memory checkers: nothing is rounded and nothing kept).
// Before an allocation fails, everything cached goes back to the driver and it is tried once more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <unordered_map>

#include "kernels/cuda/backend.h"

namespace perilune::kernels::cuda {

class CachingAllocator {
 public:
  /// `budget` bytes lent and cached together; 0: no limit of ours.
  explicit CachingAllocator(std::uint64_t budget);
  ~CachingAllocator();
  CachingAllocator(const CachingAllocator&) = delete;
  CachingAllocator& operator=(const CachingAllocator&) = delete;

  /// A PluginStatus. The device must be selected.
  int allocate(std::uint64_t bytes, void** pointer, PluginError& error);
  /// Null and unknown pointers are ignored.
  void release(void* pointer);
  void trim();
  /// What is released goes back to the driver at once.
  bool exact() const { return exact_; }
  /// used, peak, cached and budget.
  void statistics(PluginMemory& memory) const;

 private:
  /// Takes a cached block of at least `size` and not far above it; null when there is none.
  void* take_cached(std::uint64_t size);
  void trim_locked();

  const std::uint64_t budget_;
  const bool exact_;  // blocks as asked for, none kept
  mutable std::mutex mutex_;
  std::multimap<std::uint64_t, void*> cached_;
  std::unordered_map<void*, std::uint64_t> lent_;  // sizes
  std::uint64_t used_ = 0, peak_ = 0, cached_bytes_ = 0;
};

}  // namespace perilune::kernels::cuda
