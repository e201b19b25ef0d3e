#include "repl/program.h"

#include <sys/stat.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "bindings/lua/host/perilune_lua.h"
#include "repl/lua_call.h"
#include "repl/ranks.h"
#include "repl/session.h"

namespace perilune::repl {
namespace {

// Warnings of the engine and the library go to stderr, until a script says otherwise.
constexpr const char* kPrepare = R"lua(
local core = require "perilune.core"
core.on_warning(function(text, where)
  io.stdout:flush()
  io.stderr:write("perilune: warning: ", text, where ~= "" and " (" .. where .. ")" or "", "\n")
end)
require("perilune.base.progress").on_terminal()
local exit = os.exit  -- closes the state, so that memory and threads are given back first
os.exit = function(status, close) return exit(status, close ~= false) end
-- Compiled Lua runs where a script asks for it by mode, never because a file holds it.
local load, loadfile = load, loadfile
_G.load = function(chunk, name, mode, env) return load(chunk, name, mode or "t", env) end
_G.loadstring = function(text, name) return load(text, name, "t") end
_G.loadfile = function(file, mode, env) return loadfile(file, mode or "t", env) end
_G.dofile = function(file)
  local chunk, err = loadfile(file, "t")
  if not chunk then error(err, 0) end
  return chunk()
end
package.loaders[3] = function(name)  -- behind preload and the library: files of package.path
  local path, missing = package.searchpath(name, package.path)
  if not path then return missing end
  local chunk, err = loadfile(path, "t")
  return chunk or error(("module '%s': %s"):format(name, err), 0)
end
)lua";

constexpr const char* kVersion = R"lua(
local core = require "perilune.core"
local version, build, sanitizers = ...
print("perilune " .. version)
print("build       " .. build .. (sanitizers ~= "" and ", sanitizers " .. sanitizers or ""))
print("processor   " .. table.concat(core.tiers(), ", ") .. "; uses " .. core.devices()[1].tier)
print("Lua         " .. jit.version)
)lua";

// Runs Lua text of the program itself with the texts given.
bool run_text(lua_State* L, const char* text, std::initializer_list<const char*> arguments = {}) {
  if (luaL_loadbuffer(L, text, std::string(text).size(), "=perilune") != 0) {
    std::fprintf(stderr, "perilune: %s\n", lua_tostring(L, -1));
    return false;
  }
  for (const char* argument : arguments) lua_pushstring(L, argument);
  return report_call(L, static_cast<int>(arguments.size())) == kDone;
}

// Pushes every argument after `script`, and sets the global table `arg` as `lua` does.
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
  return report_call(L, arguments);
}

int run_verb(lua_State* L, const char* name, int argc, char** argv) {
  lua_getglobal(L, "require");
  lua_pushstring(L, "perilune.commands");
  if (const int status = report_call(L, 1, 1)) return status;
  lua_getfield(L, -1, "run");
  lua_pushstring(L, name);
  lua_newtable(L);
  for (int i = 0; i < argc; ++i) {
    lua_pushstring(L, argv[i]);
    lua_rawseti(L, -2, i + 1);
  }
  bool interrupted = false;
  if (const int status = report_call(L, 2, 1, &interrupted)) return status;
  if (lua_istable(L, -1)) return run_lines(L, lua_gettop(L));  // a conversation
  const auto status = static_cast<int>(lua_tointeger(L, -1));
  return interrupted && status != kDone ? kInterrupted : status;
}

// A file by its ending, by a folder before it, or because it is there.
bool is_script(const std::string& word) {
  if (word == "-" || (word.size() > 4 && word.compare(word.size() - 4, 4, ".lua") == 0)) {
    return true;
  }
  struct stat info {};
  return stat(word.c_str(), &info) == 0 && !S_ISDIR(info.st_mode);
}

int dispatch(lua_State* L, int argc, char** argv) {
  if (argc < 2) {
    push_arguments(L, argc, argv, 0);
    lua_settop(L, 0);
    return run_session(L, PERILUNE_VERSION);
  }
  const std::string word = argv[1];
  if (word == "--strict") {
    if (!run_text(L, "require('perilune.base.strict').on()")) return kFailed;
    argv[1] = argv[0];
    return dispatch(L, argc - 1, argv + 1);
  }
  if (word == "-e") {
    if (argc < 3) {
      std::fprintf(stderr, "perilune: -e needs a line of Lua; usage: perilune -e CODE ARGS...\n");
      return kWrongUsage;
    }
    const std::string code = argv[2];
    return run_chunk(L, luaL_loadbufferx(L, code.data(), code.size(), "=(command line)", "t"), argc,
                     argv, 2);
  }
  if (word == "-v" || word == "--version") {
    return run_text(L, kVersion, {PERILUNE_VERSION, PERILUNE_BUILD_TYPE, PERILUNE_SANITIZERS})
               ? 0
               : kFailed;
  }
  if (word == "--licenses") {
    return run_text(L, "io.write(require('perilune.program.licenses').text())") ? kDone : kFailed;
  }
  if (word == "-h" || word == "--help") return run_verb(L, "help", argc - 2, argv + 2);
  if (word == "--bytecode") {
    if (argc < 3) {
      std::fprintf(stderr,
                   "perilune: --bytecode needs a file; usage: perilune --bytecode FILE ARGS...\n");
      return kWrongUsage;
    }
    return run_chunk(L, luaL_loadfilex(L, argv[2], "b"), argc, argv, 2);
  }
  if (is_script(word)) {
    // Damaged bytecode can do anything: it runs only where it is asked for.
    const int status = luaL_loadfilex(L, word == "-" ? nullptr : argv[1], "t");
    if (status != 0 && std::string(lua_tostring(L, -1)).find("wrong mode") != std::string::npos) {
      lua_pushfstring(L, "%s is compiled; if you trust it: perilune --bytecode FILE", argv[1]);
    }
    return run_chunk(L, status, argc, argv, 1);
  }
  return run_verb(L, argv[1], argc - 2, argv + 2);
}

/// A rank that rank 0 leads: no script of its own.
int follow_ranks(lua_State* L, int rank, int size) {
  const int status = run_text(L, "require('perilune.program.follow').run()") ? kDone : kFailed;
  if (status != kDone) {
    std::fprintf(stderr, "perilune: rank %d of %d has failed\n", rank, size);
    std::fflush(stderr);
    lua::end_ranks(L);
  }
  lua_close(L);
  return status;
}

}  // namespace

int run_program(int argc, char** argv) {
  lua_State* L = luaL_newstate();
  if (L == nullptr) {
    std::fprintf(stderr, "perilune: no memory for a Lua state\n");
    return kFailed;
  }
  luaL_openlibs(L);
  lua::StateOptions options;
  if (const char* folder = std::getenv("PERILUNE_STDLIB")) options.stdlib_folder = folder;
  lua::RankStart ranks;
  std::string why_not;
  const bool fine = read_ranks(ranks, why_not);
  if (ranks.size > 1) options.threads = threads_of_rank();
  lua::open(L, options);
  const int rank = !fine ? -1 : ranks.size == 0 ? 0 : lua::join_ranks(L, ranks, why_not);
  if (rank < 0) {
    std::fprintf(stderr, "perilune: %s\n", why_not.c_str());
    lua_close(L);
    return fine ? kFailed : kWrongUsage;
  }
  if (rank > 0) return follow_ranks(L, rank, ranks.size);
  make_interruptible(L);
  const int status = run_text(L, kPrepare) ? dispatch(L, argc, argv) : kFailed;
  lua_close(L);
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    std::fprintf(stderr, "perilune: standard output could not be written\n");
    return status == 0 ? kFailed : status;
  }
  return status;
}

}  // namespace perilune::repl
