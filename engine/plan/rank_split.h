// How a plan is spread over ranks: which heads and channels are whose.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "engine/plan/graph.h"
#include "engine/ranks/rank_group.h"
#include "engine/weights/weight_slice.h"

namespace perilune {

/// What the plans of one model share when several ranks compute it.
struct RankShare {
  std::shared_ptr<RankGroup> group;
  std::shared_ptr<WeightSlices> slices;
  std::int64_t model = 0;  // its number, by which followers know it
};

/// Values with an axis "head", "kv_head" or "ffn" are split along it, from the products that make
/// them to those that sum over them (RankLinearOp), where everything between works on each head or
/// channel by itself; elsewhere, and where the ranks do not divide the axis, every rank computes
/// all. The sums' order hangs on the program alone, so the number of ranks changes no bit. What was
/// asked for is gathered. `kv_heads`: by slot path, where a rank keeps fewer than all. Before any
/// fusion.
void split_over_ranks(PlanGraph& graph, const RankShare& share,
                      std::map<std::string, std::int64_t>& kv_heads);

}  // namespace perilune
