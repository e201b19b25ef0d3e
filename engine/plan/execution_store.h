// Executions kept between runs of passes.
#pragma once

#include <memory>
#include <vector>

#include "engine/plan/plan.h"

namespace perilune {

/// Executions with their arenas, kept between runs: those of the plans used last. Not thread-safe.
class ExecutionStore {
 public:
  explicit ExecutionStore(std::size_t most = 4) : most_(most) {}
  /// The one that is kept for this plan, else a new one (a nested run of a plan has its own).
  std::unique_ptr<Execution> take(const std::shared_ptr<const Plan>& plan);
  void give(std::unique_ptr<Execution> execution);
  /// Of executions that are taken from now on (Execution::use_clock).
  void use_clock(const KernelClock* clock) { clock_ = clock; }

 private:
  const KernelClock* clock_ = nullptr;
  std::size_t most_;
  std::vector<std::unique_ptr<Execution>> kept_;  // used last: at the end
};

}  // namespace perilune
