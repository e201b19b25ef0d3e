// Tensors made longer along an axis: t:pad and pl.pad.
#pragma once

#include "bindings/lua/edge/state.h"

namespace perilune::lua {

/// t:pad(axis, { to=, side=, value= })
int pad_tensor(lua_State* L);
/// pl.pad(list, axis, { to= (default: the longest), side=, value= }) → list, what each got
int pad_list(lua_State* L);

}  // namespace perilune::lua
