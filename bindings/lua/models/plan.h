// Programs made ready: core.plan, core.execute and the methods of a plan.
#pragma once

#include "bindings/lua/models/plan_object.h"

namespace perilune::lua {

void add_plan(lua_State* L);

}  // namespace perilune::lua
