// LuaJIT for libperilune.so: the system's library, opened so that it meets no other Lua of the
// host. A host's Lua 5.4 has functions of the same names, and a plain link would call those. So the
// names are ours in here, hidden from everybody, and each goes on to a LuaJIT whose own calls stay
// inside it (RTLD_DEEPBIND). (Debian's archive of LuaJIT is compiled for programs and cannot be
// part of a library.)
#include "bindings/c/luajit.h"

#include <dlfcn.h>

#include <mutex>

// clang-format off
#define PL_LUA_CALLS(X) \
  X(luaJIT_setmode) X(luaL_checklstring) X(luaL_checknumber) X(luaL_checkstack)                   \
  X(luaL_checktype) X(luaL_error) X(luaL_loadbufferx) X(luaL_openlibs) X(luaL_ref)                \
  X(luaL_traceback) X(luaL_unref) X(lua_call) X(lua_checkstack) X(lua_close) X(lua_concat)        \
  X(lua_cpcall) X(lua_createtable) X(lua_error) X(lua_gc) X(lua_getfenv) X(lua_getfield)          \
  X(lua_getinfo) X(lua_getlocal) X(lua_getmetatable) X(lua_getstack) X(lua_gettop)                \
  X(lua_getupvalue) X(lua_insert) X(lua_isstring) X(lua_newstate) X(lua_newthread)                \
  X(lua_newuserdata) X(lua_next)                                                                  \
  X(lua_objlen) X(lua_pcall) X(lua_pushboolean) X(lua_pushcclosure) X(lua_pushfstring)            \
  X(lua_pushinteger) X(lua_pushlightuserdata) X(lua_pushlstring) X(lua_pushnil)                   \
  X(lua_pushnumber) X(lua_pushstring) X(lua_pushvalue) X(lua_rawequal) X(lua_rawget)              \
  X(lua_rawgeti) X(lua_rawset) X(lua_rawseti) X(lua_remove) X(lua_replace) X(lua_setfenv)         \
  X(lua_setfield) X(lua_sethook) X(lua_setmetatable) X(lua_settop) X(lua_toboolean)               \
  X(lua_tocfunction) X(lua_tointeger) X(lua_tolstring) X(lua_tonumber) X(lua_touserdata)          \
  X(lua_type) X(lua_typename)
// clang-format on

// What each name goes on to.
#define PL_SLOT(name) extern "C" __attribute__((visibility("hidden"))) void* pl_slot_##name;
PL_LUA_CALLS(PL_SLOT)
#undef PL_SLOT
#define PL_SLOT(name) void* pl_slot_##name = nullptr;
PL_LUA_CALLS(PL_SLOT)
#undef PL_SLOT

#if !defined(__x86_64__)
#error "A jump of this processor is missing here."
#endif
#define PL_JUMP(name)                                                           \
  asm(".pushsection .text\n"                                                    \
      ".globl " #name "\n.hidden " #name "\n.type " #name ", @function\n" #name \
      ":\n"                                                                     \
      "endbr64\njmp *pl_slot_" #name "(%rip)\n.size " #name ", .-" #name        \
      "\n"                                                                      \
      ".popsection\n");
PL_LUA_CALLS(PL_JUMP)

namespace perilune::c {

namespace {

constexpr const char* kFile = "libluajit-5.1.so.2";

std::mutex g_mutex;
bool g_open = false;

}  // namespace

const char* open_luajit() {
  const std::lock_guard lock(g_mutex);
  if (g_open) return nullptr;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr int kAlone = 0;  // sanitizers put functions of their own between
#else
  constexpr int kAlone = RTLD_DEEPBIND;
#endif
  void* library = dlopen(kFile, RTLD_NOW | RTLD_LOCAL | kAlone);
  if (library == nullptr)
    return "libluajit-5.1.so.2 (LuaJIT 2.1) cannot be opened: is it installed?";
  const auto find = [&](void*& slot, const char* name) {
    slot = dlsym(library, name);
    return slot != nullptr;
  };
  bool all = true;
#define PL_FIND(name) all = find(pl_slot_##name, #name) && all;
  PL_LUA_CALLS(PL_FIND)
#undef PL_FIND
  if (!all) return "libluajit-5.1.so.2 lacks functions of LuaJIT 2.1";
  g_open = true;
  return nullptr;
}

}  // namespace perilune::c
