#include "repl/lua_call.h"

#include <csignal>
#include <cstdio>
#include <string>

#include "bindings/lua/perilune_lua.h"

namespace perilune::repl {
namespace {

lua_State* g_running = nullptr;  // the handler's way to the state; signals are the process's
lua::Interrupter g_interrupter;

void stop_hook(lua_State* L, lua_Debug*) {
  lua_sethook(L, nullptr, 0, 0);
  luaL_error(L, "interrupted");
}

void on_interrupt(int signal) {
  std::signal(signal, SIG_DFL);  // a second Ctrl-C ends the process
  g_interrupter.interrupt();
  if (g_running != nullptr) {
    lua_sethook(g_running, stop_hook, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
  }
}

// Turns any raised value into the text to print: an error table's place, message and traceback.
int describe_error(lua_State* L) {
  std::string text;
  if (lua_istable(L, 1)) {
    lua_getfield(L, 1, "message");
    if (const char* message = lua_tostring(L, -1)) text = message;
    lua_getfield(L, 1, "where");
    if (const char* where = lua_tostring(L, -1)) text = std::string(where) + ": " + text;
    lua_getfield(L, 1, "traceback");
    if (const char* trace = lua_tostring(L, -1)) {
      lua_pushlstring(L, (text + "\n" + trace).data(), text.size() + 1 + std::string(trace).size());
      return 1;
    }
  } else if (const char* message = lua_tostring(L, 1)) {
    text = message;
  } else {
    text = std::string("(error of type ") + luaL_typename(L, 1) + ")";
  }
  luaL_traceback(L, L, text.c_str(), 1);
  return 1;
}

}  // namespace

bool report_call(lua_State* L, int arguments, int results) {
  const int base = lua_gettop(L) - arguments;
  lua_pushcfunction(L, describe_error);
  lua_insert(L, base);
  g_running = L;
  g_interrupter = lua::interrupter(L);
  const auto previous = std::signal(SIGINT, on_interrupt);
  const int status = lua_pcall(L, arguments, results, base);
  std::signal(SIGINT, previous);
  g_running = nullptr;
  g_interrupter.clear();
  lua_remove(L, base);
  if (status == 0) return true;
  const char* text = lua_tostring(L, -1);
  std::fflush(stdout);
  std::fprintf(stderr, "perilune: %s\n", text != nullptr ? text : "(no message)");
  lua_pop(L, 1);
  return false;
}

}  // namespace perilune::repl
