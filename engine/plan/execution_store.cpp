#include "engine/plan/execution_store.h"

#include <algorithm>

namespace perilune {

std::unique_ptr<Execution> ExecutionStore::take(const std::shared_ptr<const Plan>& plan) {
  kept_.reserve(most_ + 1);  // what comes back needs no memory
  for (auto kept = kept_.rbegin(); kept != kept_.rend(); ++kept) {
    if (&(*kept)->plan() != plan.get()) continue;
    std::unique_ptr<Execution> execution = std::move(*kept);
    kept_.erase(std::next(kept).base());
    execution->use_clock(clock_);
    return execution;
  }
  auto execution = std::make_unique<Execution>(plan);
  execution->use_clock(clock_);
  return execution;
}

void ExecutionStore::give(std::unique_ptr<Execution> execution) {
  execution->release();
  std::erase_if(kept_, [&](const std::unique_ptr<Execution>& kept) {
    return &kept->plan() == &execution->plan();
  });
  kept_.push_back(std::move(execution));
  if (kept_.size() > most_) kept_.erase(kept_.begin());
}

}  // namespace perilune
