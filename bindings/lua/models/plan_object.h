// A program made ready, as scripts hold it.
#pragma once

#include <memory>

#include "bindings/lua/edge/user_type.h"
#include "engine/plan/pass_run.h"

namespace perilune::lua {

struct PlanObject {
  std::shared_ptr<const Plan> plan;
  std::shared_ptr<ExecutionStore> executions;  // arenas kept between runs
};
template <>
struct TypeName<PlanObject> {
  static constexpr const char* value = "Plan";
};

}  // namespace perilune::lua
