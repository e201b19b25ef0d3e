// Calling Lua from the program: errors are printed with their script lines, Ctrl-C stops the
// engine.
#pragma once

#include "lua.hpp"

namespace perilune::repl {

/// Calls the function below `arguments` values, with a traceback. On an error prints
/// "perilune: message" and the script's frames to stderr and returns false (nothing is pushed).
bool report_call(lua_State* L, int arguments, int results = 0);

}  // namespace perilune::repl
