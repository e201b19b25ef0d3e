// A scheduler without a model: the same queue, decisions and checks, passes that compute nothing
// and take the time that a formula says, and pages of which only the number exists.
#pragma once

#include <memory>
#include <vector>

#include "engine/cache/cache.h"
#include "engine/plan/plan.h"
#include "engine/serving/policy.h"

namespace perilune {

/// What a pass takes: `ms_per_step` for itself and `ms_per_token` for each position it computes.
struct DryRun {
  double ms_per_step = 0, ms_per_token = 0;
  bool padded = false;  // every step, whatever its plan says
};

/// Time and memory of a scheduler that runs dry.
struct DryClock {
  static constexpr double kStart = 1;  // 0 is "not yet" in RequestTimes
  DryRun cost;
  double ms = 0;
  double seconds() const { return kStart + ms / 1e3; }
  std::vector<PlannedRow> ran;  // in the last step
};

/// A plan without ops whose passes keep `bytes_per_token` of keys and values (rounded up to 8).
std::shared_ptr<const Plan> make_dry_plan(const std::shared_ptr<Context>& context,
                                          std::int64_t bytes_per_token);
/// A pool for what plans keep, of `budget` bytes, that takes no memory: for dry runs only. Null
/// where they keep nothing.
std::shared_ptr<Cache> make_dry_cache(const std::shared_ptr<Context>& context,
                                      const std::vector<std::shared_ptr<const Plan>>& plans,
                                      DType dtype, std::int64_t page_tokens, std::int64_t budget);

}  // namespace perilune
