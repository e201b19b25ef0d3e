// JSON between the engine's values and Lua's.
#pragma once

#include "bindings/lua/edge/arguments.h"
#include "engine/base/json.h"

namespace perilune::lua {

/// Null becomes nil; arrays are marked, so that an empty one stays one.
void push_json(lua_State* L, const Json& value);
/// The value at `index`. Marked lists and tables with entries 1..n become arrays. Throws
/// Error(argument) for what JSON cannot hold and for tables nested too deeply, or in themselves.
Json to_json(lua_State* L, int index);
/// Pushes the metatable that marks a list as an array.
void push_array_metatable(lua_State* L);

}  // namespace perilune::lua
