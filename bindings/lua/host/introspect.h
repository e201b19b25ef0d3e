// What there is in the engine's Lua library: types with their members, sources.
#pragma once

#include "lua.hpp"

namespace perilune::lua {

/// Adds core.types, core.stdlib and core.stdlib_source to the table on top of the stack.
void add_introspection(lua_State* L);

}  // namespace perilune::lua
