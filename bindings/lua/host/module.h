/* The library in a Lua state of the host's own LuaJIT. `require "perilune"` finds perilune.so by
 * itself through package.cpath; a host that links the file calls pl_lua_open. */
#ifndef PERILUNE_LUA_H
#define PERILUNE_LUA_H

#ifdef __cplusplus
extern "C" {
#endif

struct lua_State;

/* Makes `require "perilune"` work in L, a state of LuaJIT 2.1: nothing is loaded before it is
 * required. Call it in protected mode: it raises a Lua error where memory runs out. Several states
 * share nothing, and are closed in any order. */
__attribute__((visibility("default"))) void pl_lua_open(struct lua_State* L);
/* What `require` calls: opens, and gives what the library returns. */
__attribute__((visibility("default"))) int luaopen_perilune(struct lua_State* L);

#ifdef __cplusplus
}
#endif
#endif
