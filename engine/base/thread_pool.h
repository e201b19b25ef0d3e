// Threads that split one kernel's outputs or rows. They spin inside a step for a bounded time and
// sleep between steps. No OpenMP, no TBB: hosts embed us.
#pragma once

#include <memory>

#include "kernels/kernel_table.h"

namespace perilune {

class ThreadPool {
 public:
  /// `threads` counts the caller; 1 makes no thread at all.
  explicit ThreadPool(int threads);
  /// Uses the host's own parallel_for instead of threads of ours.
  explicit ThreadPool(kernels::Parallel host);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;
  /// Whether the threads are the host's.
  bool host_owned() const;
  kernels::Parallel parallel();

  /// Threads this process may use (affinity and cgroup respected).
  static int available();

 private:
  struct Shared;
  std::unique_ptr<Shared> shared_;
};

}  // namespace perilune
