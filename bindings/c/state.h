// Making an instance's Lua state.
#pragma once

#include "bindings/c/instance.h"

namespace perilune::c {

/// A state whose memory is counted in `settings`, which outlives it; null without memory.
lua_State* make_state(Settings& settings);
/// In protected mode: libraries, the engine, `perilune.host` with the host's callbacks. The table
/// of functions is kept for push_function.
void fill_state(lua_State* L, Settings& settings);
/// Pushes perilune.host[name].
void push_function(lua_State* L, const char* name);

}  // namespace perilune::c
