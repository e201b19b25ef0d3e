// Talking to the engine line by line.
#pragma once

#include "lua.hpp"

namespace perilune::repl {

/// Reads and runs lines until the input ends. What a line does is stdlib's (perilune/repl.lua);
/// keys, history and Ctrl-C are here. Returns the exit status.
int run_session(lua_State* L, const char* version);

/// Reads lines for the session at stack position `object`: a table with prompt(), line(text) (false
/// to leave), drop(), complete(text) and finish() (the exit status), as perilune/repl.lua and
/// perilune/chat_session.lua make them. Ctrl-C stops what a line does, not the session. Returns the
/// exit status.
int run_lines(lua_State* L, int object);

}  // namespace perilune::repl
