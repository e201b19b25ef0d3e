#include "bindings/c/state.h"

#include <climits>
#include <cstdlib>
#include <cstring>

namespace perilune::c {

namespace {

constexpr char kHostKey = 0;  // its address: registry key of perilune.host
constexpr std::size_t kModMemory = std::size_t{64} << 20;
constexpr std::size_t kModTensors = std::size_t{1} << 30;

const pl_options& host() {
  return Instance::current()->settings.host;
}

// Lua's allocator: the host's or the C library's, counted.
void* allocate(void* data, void* block, std::size_t old_size, std::size_t new_size) {
  auto* settings = static_cast<Settings*>(data);
  if (block == nullptr) old_size = 0;  // Lua says there what kind of object it makes
  if (new_size > old_size && settings->script_budget > 0 &&
      settings->script_used + (new_size - old_size) > settings->script_budget) {
    return nullptr;
  }
  void* made = nullptr;
  if (settings->host.allocate != nullptr) {
    made = settings->host.allocate(settings->host.user, block, old_size, new_size);
  } else if (new_size == 0) {
    std::free(block);
  } else {
    made = std::realloc(block, new_size);
  }
  if (new_size == 0 || made != nullptr) settings->script_used += new_size - old_size;
  return new_size == 0 ? nullptr : made;
}

// ---------------------------------------------------------------- what Lua calls of the host

int log(lua_State* L) {
  if (host().log != nullptr) {
    host().log(host().user, static_cast<std::int32_t>(lua_tointeger(L, 1)), luaL_checkstring(L, 2));
  }
  return 0;
}

int progress(lua_State* L) {
  const auto tell = host().progress;
  lua_pushboolean(
      L, tell != nullptr && tell(host().user, luaL_checkstring(L, 1), lua_tonumber(L, 2)) != 0);
  return 1;
}

int read(lua_State* L) {
  std::size_t size = 0;
  const char* text =
      host().read != nullptr ? host().read(host().user, luaL_checkstring(L, 1), &size) : nullptr;
  if (text == nullptr) return 0;
  lua_pushlstring(L, text, size);
  return 1;
}

int on_text(lua_State* L) {
  const auto* prompt = static_cast<const pl_prompt*>(lua_touserdata(L, 1));
  std::size_t size = 0;
  const char* text = luaL_checklstring(L, 2, &size);
  lua_pushboolean(L, prompt->on_text(prompt->user, text, size) != 0);
  return 1;
}

int real_path(lua_State* L) {
  char path[PATH_MAX];
  if (realpath(luaL_checkstring(L, 1), path) == nullptr) return 0;
  lua_pushstring(L, path);
  return 1;
}

// Whether the host itself has a file or folder of this name.
int brings(lua_State* L) {
  const char* path = luaL_checkstring(L, 1);
  bool found = true;
  try {
    found = Instance::current()->files.find(path).kind != FileSource::Kind::none;
  } catch (...) {  // opening it says what is wrong
  }
  lua_pushboolean(L, found ? 1 : 0);
  return 1;
}

void push_native(lua_State* L, const Settings& settings) {
  lua_createtable(L, 0, 9);
  constexpr luaL_Reg kFunctions[] = {{"log", log},       {"progress", progress},
                                     {"read", read},     {"on_text", on_text},
                                     {"brings", brings}, {"real_path", real_path}};
  for (const luaL_Reg& function : kFunctions) {
    lua_pushcfunction(L, function.func);
    lua_setfield(L, -2, function.name);
  }
  const auto flag = [&](const char* name, bool value) {
    lua_pushboolean(L, value ? 1 : 0);
    lua_setfield(L, -2, name);
  };
  flag("reads", settings.host.read != nullptr);
  flag("worker", (settings.host.flags & PL_WORKER) != 0);
  flag("mod", (settings.host.flags & PL_MOD) != 0);
  lua_newtable(L);
  int position = 0;
  for (const std::string& folder : settings.model_folders) {
    lua_pushlstring(L, folder.data(), folder.size());
    lua_rawseti(L, -2, ++position);
  }
  lua_setfield(L, -2, "folders");
}

void require(lua_State* L, const char* name) {
  lua_getglobal(L, "require");
  lua_pushstring(L, name);
  lua_call(L, 1, 1);
}

}  // namespace

lua_State* make_state(Settings& settings) {
  settings.script_budget = settings.host.script_memory;
  if ((settings.host.flags & PL_MOD) != 0) {
    if (settings.script_budget == 0) settings.script_budget = kModMemory;
    if (settings.host.memory == 0) settings.host.memory = kModTensors;
    if (settings.host.script_steps == 0) settings.host.script_steps = 200'000'000;
    if (settings.host.script_ms <= 0) settings.host.script_ms = 10'000;
  }
  return lua_newstate(allocate, &settings);
}

void fill_state(lua_State* L, Settings& settings) {
  luaL_openlibs(L);  // turns the compiler on
  // Compiled loops look at no hook: neither pl_cancel nor a limit would end them.
  luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
  lua::StateOptions options;
  options.threads = settings.host.threads;
  options.memory_budget = settings.host.memory;
  options.parallel_for = settings.host.parallel_for;
  options.parallel_host = settings.host.user;
  lua::open(L, options);
  require(L, "perilune");
  require(L, "perilune.host");
  const int functions = lua_gettop(L);
  lua_getfield(L, functions, "start");
  push_native(L, settings);
  lua_call(L, 1, 0);
  lua_pushlightuserdata(L, const_cast<char*>(&kHostKey));
  lua_pushvalue(L, functions);
  lua_rawset(L, LUA_REGISTRYINDEX);
}

void push_function(lua_State* L, const char* name) {
  luaL_checkstack(L, LUA_MINSTACK, "a call of the host");
  lua_pushlightuserdata(L, const_cast<char*>(&kHostKey));
  lua_rawget(L, LUA_REGISTRYINDEX);
  lua_getfield(L, -1, name);
  lua_remove(L, -2);
}

}  // namespace perilune::c
