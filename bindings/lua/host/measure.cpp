// core: what this machine can do, for benchmarks.
#include "engine/tensor/bandwidth.h"

#include "bindings/lua/edge/arguments.h"
#include "bindings/lua/host/functions.h"

namespace perilune::lua {

namespace {

int bandwidth(lua_State* L) {
  lua_pushnumber(L, memory_bandwidth(*state(L).context));
  return 1;
}

int available_threads(lua_State* L) {
  push_integer(L, ThreadPool::available());
  return 1;
}

}  // namespace

void add_measure(lua_State* L) {
  static constexpr Member kFunctions[] = {
      {"memory_bandwidth", guarded<bandwidth>},
      {"available_threads", guarded<available_threads>},
  };
  set_functions(L, kFunctions);
}

}  // namespace perilune::lua
