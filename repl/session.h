// Talking to the engine line by line.
#pragma once

#include "lua.hpp"

namespace perilune::repl {

/// Reads and runs lines until the input ends. What a line does is stdlib's (perilune/repl.lua);
/// keys, history and Ctrl-C are here. Returns the exit status.
int run_session(lua_State* L, const char* version);

}  // namespace perilune::repl
