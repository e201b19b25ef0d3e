// Rotary options of a family, as a Lua table.
#pragma once

#include "bindings/lua/types.h"

namespace perilune::lua {

/// { theta=, dims=, style=, scaling={ type=, ... }, factors= } at `index`. `checkpoint` holds the
/// tensor that factors= may name, or is null.
RopePointer read_rope(lua_State* L, int index, Checkpoint* checkpoint);

}  // namespace perilune::lua
