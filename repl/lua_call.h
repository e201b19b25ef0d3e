// Calling Lua from the program: errors are printed with their script lines, Ctrl-C stops the
// engine and the script.
#pragma once

#include <csignal>

#include "lua.hpp"

namespace perilune::repl {

/// What the second Ctrl-C does to code that caught the first one.
enum class SecondInterrupt {
  ends_process,  // a script: as if nobody listened
  insists,       // a session: raises at every step until nothing is left that catches it
};

/// While it lives, Ctrl-C stops the engine's passes and the Lua code that runs in `L`. One at a
/// time: signals are the process's.
class Interruptible {
 public:
  Interruptible(lua_State* L, SecondInterrupt second);
  ~Interruptible();
  Interruptible(const Interruptible&) = delete;
  Interruptible& operator=(const Interruptible&) = delete;

 private:
  lua_State* L_;
  struct sigaction previous_ {};
};

/// Calls the function below `arguments` values, with a traceback. On an error prints
/// "perilune: message" and the script's frames to stderr and returns false (nothing is pushed).
bool report_call(lua_State* L, int arguments, int results = 0);

}  // namespace perilune::repl
