// perilune.so: the library as a C module of a LuaJIT that is there already.
#include "bindings/lua/host/module.h"

#include "bindings/lua/host/perilune_lua.h"

extern "C" {

void pl_lua_open(lua_State* L) {
  perilune::lua::open(L);
}

int luaopen_perilune(lua_State* L) {
  pl_lua_open(L);
  // What `require` was asked for is our own module of that name, which the searcher now finds
  // first.
  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  lua_pushnil(L);
  lua_setfield(L, -2, "perilune");
  lua_getglobal(L, "require");
  lua_pushliteral(L, "perilune");
  lua_call(L, 1, 1);
  return 1;
}

}  // extern "C"
