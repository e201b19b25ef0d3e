// How stored tensors become modules, as a table of options says it.
#pragma once

#include <lua.hpp>

#include "engine/weights/views.h"

namespace perilune::lua {

/// The table at `table`: { prefixes=, unused=, axes=, mmap=, ties=, views=, permute=, add= }.
/// Throws Error(argument | option).
CheckpointOptions checkpoint_options(lua_State* L, int table);

}  // namespace perilune::lua
