// core.engine's times: where the last step's time went.
#include "bindings/lua/serving/serving.h"

namespace perilune::lua {

/// engine:times(keep): begins or ends keeping them; engine:times(): those of the last step by part,
/// in microseconds, with total, kernels (inside run), readings (of the clock: how many) and reading
/// (what those took beside kernels); nil without.
int step_times(lua_State* L) {
  auto& engine = self<EngineObject>(L, "times");
  if (engine.scheduler == nullptr || engine.worker != nullptr) {
    throw Error(ErrorCode::state, "times", "times are kept by an engine that scripts step");
  }
  if (!lua_isnoneornil(L, 2)) engine.scheduler->keep_times(to_boolean(L, 2, "times", "keep"));
  const StepTimes* times = engine.scheduler->times();
  if (times == nullptr) return 0;
  lua_createtable(L, 0, static_cast<int>(kStepPartNames.size()) + 4);
  for (std::size_t i = 0; i < kStepPartNames.size(); ++i) {
    set_field(L, kStepPartNames[i], times->seconds(static_cast<StepPart>(i)) * 1e6);
  }
  set_field(L, "total", times->total() * 1e6);
  set_field(L, "kernels", times->kernel_seconds() * 1e6);
  set_field(L, "readings", times->readings());
  set_field(L, "reading", times->reading_seconds() * 1e6);
  return 1;
}

}  // namespace perilune::lua
