#include "repl/program.h"

#include <csignal>
#include <cstdio>
#include <string>
#include <vector>

#include "bindings/lua/perilune_lua.h"
#include "repl/lua_call.h"

namespace perilune::repl {
namespace {

constexpr int kFailed = 1;
constexpr int kWrongUsage = 2;

// Pushes every argument after `first`, and sets the global table `arg` as `lua` does.
int push_arguments(lua_State* L, int argc, char** argv, int script) {
  lua_newtable(L);
  for (int i = 0; i < argc; ++i) {
    lua_pushstring(L, argv[i]);
    lua_rawseti(L, -2, i - script);
  }
  lua_setglobal(L, "arg");
  luaL_checkstack(L, argc, "too many arguments");
  for (int i = script + 1; i < argc; ++i) lua_pushstring(L, argv[i]);
  return argc - script - 1;
}

int run_chunk(lua_State* L, int load_status, int argc, char** argv, int script) {
  if (load_status != 0) {
    std::fprintf(stderr, "perilune: %s\n", lua_tostring(L, -1));
    return kFailed;
  }
  const int arguments = push_arguments(L, argc, argv, script);
  return report_call(L, arguments) ? 0 : kFailed;
}

int run_verb(lua_State* L, int argc, char** argv) {
  lua_getglobal(L, "require");
  lua_pushstring(L, "perilune.verbs");
  if (!report_call(L, 1, 1)) return kFailed;
  lua_getfield(L, -1, "run");
  lua_pushstring(L, argv[1]);
  lua_newtable(L);
  for (int i = 2; i < argc; ++i) {
    lua_pushstring(L, argv[i]);
    lua_rawseti(L, -2, i - 1);
  }
  if (!report_call(L, 2, 1)) return kFailed;
  return static_cast<int>(lua_tointeger(L, -1));
}

bool is_script(const std::string& word) {
  if (word == "-" || (word.size() > 4 && word.compare(word.size() - 4, 4, ".lua") == 0))
    return true;
  if (word.find('/') == std::string::npos) return false;
  std::FILE* file = std::fopen(word.c_str(), "rb");
  if (file != nullptr) std::fclose(file);
  return file != nullptr;
}

int dispatch(lua_State* L, int argc, char** argv) {
  if (argc < 2) return run_chunk(L, luaL_loadfile(L, nullptr), argc, argv, 0);
  const std::string word = argv[1];
  if (word == "-e") {
    if (argc < 3) {
      std::fprintf(stderr, "perilune: -e needs a line of Lua\n");
      return kWrongUsage;
    }
    return run_chunk(L, luaL_loadbuffer(L, argv[2], std::string(argv[2]).size(), "=(command line)"),
                     argc, argv, 2);
  }
  if (word == "-h" || word == "--help") {
    char help[] = "help";
    char* verb[] = {argv[0], help};
    return run_verb(L, 2, verb);
  }
  if (is_script(word)) {
    return run_chunk(L, luaL_loadfile(L, word == "-" ? nullptr : argv[1]), argc, argv, 1);
  }
  return run_verb(L, argc, argv);
}

}  // namespace

int run_program(int argc, char** argv) {
  lua_State* L = luaL_newstate();
  if (L == nullptr) {
    std::fprintf(stderr, "perilune: no memory for a Lua state\n");
    return kFailed;
  }
  luaL_openlibs(L);
  lua::open(L);
  const int status = dispatch(L, argc, argv);
  lua_close(L);
  return status;
}

}  // namespace perilune::repl
