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

/// Lets Ctrl-C stop loops that were compiled to machine code, too. Once, before anything runs.
void make_interruptible(lua_State* L);

/// While it lives, Ctrl-C stops the engine's passes and the Lua code that runs in `L`. One may live
/// inside another; the process has one thread for them: signals are the process's.
class Interruptible {
 public:
  Interruptible(lua_State* L, SecondInterrupt second);
  ~Interruptible();
  Interruptible(const Interruptible&) = delete;
  Interruptible& operator=(const Interruptible&) = delete;

  /// What was interrupted has been dealt with: the code goes on as if no Ctrl-C had come.
  static void forget();

 private:
  lua_State* L_;
  lua_State* outer_;  // what the one around it runs
  SecondInterrupt outer_second_;
  struct sigaction previous_ {};
};

/// Exit statuses of the program.
inline constexpr int kDone = 0, kFailed = 1, kWrongUsage = 2, kInterrupted = 130;

/// Calls the function below `arguments` values, with a traceback. kDone; or, with nothing pushed,
/// kFailed after "perilune: message" and the script's frames on stderr, kInterrupted after
/// "interrupted". `was_interrupted`: whether Ctrl-C came, whatever became of the call.
int report_call(lua_State* L, int arguments, int results = 0, bool* was_interrupted = nullptr);

}  // namespace perilune::repl
