// Sound files and features of samples.
#pragma once

#include "lua.hpp"

namespace perilune::lua {

/// Adds sound_open, sound_write, resample, log_mel and align to the table on top of the stack.
void add_sound(lua_State* L);

}  // namespace perilune::lua
