// The ranks that a Lua state's process is one of.
#pragma once

#include <memory>

#include "bindings/lua/edge/guard.h"
#include "engine/plan/rank_pass.h"

namespace perilune::lua {

struct Ranks {
  std::shared_ptr<RankGroup> group;
  std::shared_ptr<WeightSlices> slices;    // of this state's context
  std::unique_ptr<RankFollower> follower;  // made when the state first follows
};

/// Null where the process works by itself.
Ranks* find_ranks(lua_State* L);
/// The state, just opened, is one of them until it closes.
void set_ranks(lua_State* L, std::shared_ptr<RankGroup> group);
void add_ranks(lua_State* L);

}  // namespace perilune::lua
