// Engines without a model, for pl.simulate: what they cost, their plan and pool, their time.
#include <limits>

#include "bindings/lua/models/cache.h"
#include "bindings/lua/models/plan_object.h"
#include "bindings/lua/serving/serving.h"

namespace perilune::lua {

namespace {

DryClock& dry_clock(lua_State* L, const char* op) {
  auto& engine = self<EngineObject>(L, op);
  DryClock* clock = engine.scheduler == nullptr ? nullptr : engine.scheduler->dry_clock();
  if (clock == nullptr) throw Error(ErrorCode::state, op, "the engine is no dry run");
  return *clock;
}

/// core.dry_plan(bytes of keys and values a token)
int make_plan(lua_State* L) {
  auto plan = make_dry_plan(state(L).context, to_integer(L, 1, "dry_plan", "bytes a token"));
  push_object(L, PlanObject{std::move(plan), std::make_shared<ExecutionStore>()});
  return 1;
}

/// core.dry_cache({ plans }, { dtype=, page_tokens=, budget= })
int make_cache(lua_State* L) {
  expect_table(L, 1, "dry_cache", "plans");
  std::vector<std::shared_ptr<const Plan>> plans;
  for (int i = 1; i <= static_cast<int>(lua_objlen(L, 1)); ++i) {
    lua_rawgeti(L, 1, i);
    plans.push_back(check_object<PlanObject>(L, -1, "dry_cache", "plans").plan);
    lua_pop(L, 1);
  }
  Options options(L, 2, "dry_cache");
  const DType dtype = options.dtype("dtype").value_or(DType::f32);
  const std::int64_t page_tokens = options.integer("page_tokens").value_or(64);
  const auto budget =
      options.integer("budget").value_or(std::numeric_limits<std::int64_t>::max() / 4);
  options.done();
  auto cache = make_dry_cache(state(L).context, plans, dtype, page_tokens, budget);
  if (!cache) return 0;
  push_object(L, std::move(cache));
  return 1;
}

}  // namespace

std::optional<DryRun> read_dry_run(lua_State* L, Options& options) {
  if (!options.push("dry")) return std::nullopt;
  Options cost(L, lua_gettop(L), "simulate");
  DryRun dry;
  dry.ms_per_step = cost.number("ms_per_step").value_or(0.0);
  dry.ms_per_token = cost.number("ms_per_token").value_or(0.0);
  dry.padded = cost.boolean("padded").value_or(false);
  cost.done();
  lua_pop(L, 1);
  return dry;
}

/// engine:dry_time(ms | nil): the milliseconds since the run began; with a number, set to that.
int dry_time(lua_State* L) {
  DryClock& clock = dry_clock(L, "dry_time");
  if (!lua_isnoneornil(L, 2)) clock.ms = to_number(L, 2, "dry_time", "ms");
  lua_pushnumber(L, clock.ms);
  return 1;
}

/// engine:dry_ran(): who ran in the last step, { { request's id, tokens }, ... }.
int dry_ran(lua_State* L) {
  const DryClock& clock = dry_clock(L, "dry_ran");
  lua_createtable(L, static_cast<int>(clock.ran.size()), 0);
  for (std::size_t i = 0; i < clock.ran.size(); ++i) {
    lua_createtable(L, 2, 0);
    push_integer(L, static_cast<std::int64_t>(clock.ran[i].request));
    lua_rawseti(L, -2, 1);
    push_integer(L, clock.ran[i].tokens);
    lua_rawseti(L, -2, 2);
    lua_rawseti(L, -2, static_cast<int>(i) + 1);
  }
  return 1;
}

void add_dry_run(lua_State* L) {
  constexpr Member kFunctions[] = {{"dry_plan", guarded<make_plan>},
                                   {"dry_cache", guarded<make_cache>}};
  set_functions(L, kFunctions);
}

}  // namespace perilune::lua
