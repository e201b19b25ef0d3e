// The Lua binding's public face: opens the engine and its standard library in a Lua state.
#pragma once

#include <memory>
#include <string>

#include "bindings/lua/edge/state_options.h"
#include "lua.hpp"

namespace perilune {
class Context;
}

/// The module `perilune.core` (bindings/lua/README.md). For package.preload, or luaL_requiref's
/// way.
extern "C" int luaopen_perilune_core(lua_State* L);

namespace perilune::lua {

/// Makes `require "perilune"` and all modules of the standard library work in `L`, whatever the
/// current folder is. The engine itself is made when `perilune.core` is first required. No variable
/// of the environment changes which code runs: what a program takes from one it hands over itself.
/// Raises a Lua error only when memory runs out.
void open(lua_State* L, const StateOptions& options = {});

/// How a process came to be one of several ranks.
struct RankStart {
  int size = 1;            // of them all
  bool by_mpirun = false;  // else it is the only one
  /// Told that another rank has died ("rank 2 (process 4711) has died"); the ranks can do nothing
  /// more. On any thread.
  void (*on_death)(const char* who) = nullptr;
};

/// Makes the state's process one of the ranks that compute models together: pl.load loads for all
/// of them. After open(), before anything runs. Gives the process' own rank, from 0; -1 with the
/// reason in `why_not`.
int join_ranks(lua_State* L, const RankStart& start, std::string& why_not);
/// Ends all ranks at once: this one cannot go on.
void end_ranks(lua_State* L);

/// What Ctrl-C uses: stops the engine's passes between two ops. Outlives the Lua state.
class Interrupter {
 public:
  Interrupter() = default;
  explicit Interrupter(std::shared_ptr<Context> context) : context_(std::move(context)) {}
  /// False before the engine exists.
  bool valid() const { return context_ != nullptr; }
  /// From any thread or a signal handler.
  void interrupt() const noexcept;
  void clear() const noexcept;

 private:
  std::shared_ptr<Context> context_;
};

/// The interrupter of the state's engine; invalid before `perilune.core` was required.
Interrupter interrupter(lua_State* L);

}  // namespace perilune::lua
