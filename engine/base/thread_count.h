// How many threads this process may keep busy.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace perilune {

/// Processors of the affinity mask, cut to the cgroup quota (v1 or v2, rounded up); at least 1.
int available_threads();

/// Whole processors that a cgroup v2 `cpu.max` text ("max 100000", "150000 100000") allows;
/// nullopt: no limit, or not understood.
std::optional<int> cpu_max_limit(std::string_view text);

}  // namespace perilune
