// Checkpoints as scripts hold them.
#pragma once

#include "bindings/lua/models/checkpoint_object.h"

namespace perilune::lua {

void add_checkpoint(lua_State* L);

}  // namespace perilune::lua
