#include "bindings/lua/host/perilune_lua.h"

#include <fstream>
#include <iterator>

#include "bindings/lua/batches/batch.h"
#include "bindings/lua/edge/answer.h"
#include "bindings/lua/edge/arguments.h"
#include "bindings/lua/host/embedded_stdlib.h"
#include "bindings/lua/host/functions.h"
#include "bindings/lua/host/introspect.h"
#include "bindings/lua/models/cache.h"
#include "bindings/lua/models/checkpoint.h"
#include "bindings/lua/models/net.h"
#include "bindings/lua/models/pass.h"
#include "bindings/lua/models/plan.h"
#include "bindings/lua/models/ranks.h"
#include "bindings/lua/serving/grammar.h"
#include "bindings/lua/serving/serving.h"
#include "bindings/lua/sound/sound.h"
#include "bindings/lua/tensors/tensor_value.h"
#include "bindings/lua/text/characters.h"
#include "bindings/lua/text/tokenizer.h"

namespace perilune::lua {

namespace {

constexpr char kOptionsKey = 0;  // its address: registry key of the host's StateOptions

/// A host's threads, as kept in a userdata.
struct HostThreads {
  decltype(StateOptions::parallel_for) run;
  void* host;
};

StateOptions host_options(lua_State* L) {
  lua_pushlightuserdata(L, const_cast<char*>(&kOptionsKey));
  lua_rawget(L, LUA_REGISTRYINDEX);
  StateOptions options;
  if (lua_istable(L, -1)) {
    lua_rawgeti(L, -1, 1);
    lua_rawgeti(L, -2, 2);
    lua_rawgeti(L, -3, 3);
    lua_rawgeti(L, -4, 4);
    options.threads = static_cast<int>(lua_tointeger(L, -4));
    options.cpu_tier = lua_tostring(L, -3);
    options.memory_budget = static_cast<std::size_t>(lua_tonumber(L, -2));
    options.stdlib_folder = lua_tostring(L, -1);
    lua_pop(L, 4);
    lua_rawgeti(L, -1, 5);
    if (const auto* threads = static_cast<const HostThreads*>(lua_touserdata(L, -1))) {
      options.parallel_for = threads->run;
      options.parallel_host = threads->host;
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return options;
}

/// Where `name` would be in a folder that mirrors stdlib/: "perilune/models/llama.lua".
std::string module_file(const std::string& name) {
  std::string path = name;
  for (char& c : path) {
    if (c == '.') c = '/';
  }
  return path;
}

bool read_text(const std::string& path, std::string& text) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return false;
  text.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  return !file.bad();
}

/// Pushes the loaded chunk of a standard library module, or nothing. Compile errors throw.
bool push_module(lua_State* L, const std::string& name) {
  const auto load = [&](const char* source, std::size_t size, const std::string& file) {
    if (luaL_loadbufferx(L, source, size, ("@" + file).c_str(), "t") == 0) return;
    throw Error(ErrorCode::internal, "require", lua_tostring(L, -1));
  };
  if (const std::string folder = stdlib_folder(L); !folder.empty()) {
    const std::string path = module_file(name);
    for (const std::string& file : {path + ".lua", path + "/init.lua"}) {
      std::string text;
      if (!read_text(std::string(folder).append("/").append(file), text)) continue;
      load(text.data(), text.size(), "stdlib/" + file);
      return true;
    }
  }
  for (std::size_t i = 0; i < kEmbeddedModuleCount; ++i) {
    const EmbeddedModule& module = kEmbeddedModules[i];
    if (name != module.name) continue;
    load(reinterpret_cast<const char*>(module.source), module.size, module.file);
    return true;
  }
  return false;
}

/// A package.loaders entry.
int find_module(lua_State* L) {
  const std::string name = to_text(L, 1, "require", "name");
  if (name.rfind("perilune", 0) != 0) {
    lua_pushliteral(L, "");
    return 1;
  }
  if (!push_module(L, name)) {
    lua_pushfstring(L, "\n\tno module '%s' in the Perilune library", name.c_str());
  }
  return 1;
}

/// Ours come before files, so that a folder called perilune cannot stand in for the library.
void insert_searcher(lua_State* L) {
  lua_getglobal(L, "package");
  if (!lua_istable(L, -1)) {
    lua_pop(L, 1);
    return;
  }
  lua_getfield(L, -1, "loaders");
  if (lua_istable(L, -1)) {
    const int count = static_cast<int>(lua_objlen(L, -1));
    for (int i = count; i >= 2; --i) {  // 1 is package.preload
      lua_rawgeti(L, -1, i);
      lua_rawseti(L, -2, i + 1);
    }
    lua_pushcfunction(L, guarded<find_module>);
    lua_rawseti(L, -2, 2);
  }
  lua_pop(L, 1);
  lua_getfield(L, -1, "preload");
  if (lua_istable(L, -1)) {
    lua_pushcfunction(L, luaopen_perilune_core);
    lua_setfield(L, -2, "perilune.core");
  }
  lua_pop(L, 2);
}

int open_core(lua_State* L) {
  prepare_out_of_memory(L);
  make_state(L, host_options(L));
  lua_newtable(L);
  add_state_functions(L);
  add_device_functions(L);
  add_answer(L);
  add_file_functions(L);
  add_tensor(L);
  add_tensor_makers(L);
  add_quantization_math(L);
  add_sound(L);
  add_images(L);
  add_tokenizer(L);
  add_characters(L);
  add_batch(L);
  add_checkpoint(L);
  add_pass(L);
  add_net(L);
  add_plan(L);
  add_cache(L);
  add_ranks(L);
  add_grammar(L);
  add_engine(L);
  add_measure(L);
  add_introspection(L);
  return 1;
}

}  // namespace

std::string stdlib_folder(lua_State* L) {
  return host_options(L).stdlib_folder;
}

void open(lua_State* L, const StateOptions& options) {
  lua_pushlightuserdata(L, const_cast<char*>(&kOptionsKey));
  lua_createtable(L, 5, 0);
  lua_pushinteger(L, options.threads);
  lua_rawseti(L, -2, 1);
  push_text(L, options.cpu_tier);
  lua_rawseti(L, -2, 2);
  lua_pushnumber(L, static_cast<double>(options.memory_budget));
  lua_rawseti(L, -2, 3);
  push_text(L, options.stdlib_folder);
  lua_rawseti(L, -2, 4);
  if (options.parallel_for != nullptr) {
    *static_cast<HostThreads*>(lua_newuserdata(L, sizeof(HostThreads))) = {options.parallel_for,
                                                                           options.parallel_host};
    lua_rawseti(L, -2, 5);
  }
  lua_rawset(L, LUA_REGISTRYINDEX);
  insert_searcher(L);
}

void Interrupter::interrupt() const noexcept {
  if (context_ != nullptr) context_->interrupt();
}

void Interrupter::clear() const noexcept {
  if (context_ != nullptr) context_->clear_interrupt();
}

Interrupter interrupter(lua_State* L) {
  const State* found = find_state(L);
  return found == nullptr ? Interrupter() : Interrupter(found->context);
}

int join_ranks(lua_State* L, const RankStart& start, std::string& why_not) {
  try {
    const auto died = [tell = start.on_death](const std::string& who) {
      if (tell != nullptr) tell(who.c_str());
    };
    const auto end = start.by_mpirun ? mpi_communicator(died) : thread_communicators(1).front();
    if (end->size() != start.size) {
      throw Error(ErrorCode::option, "ranks",
                  std::to_string(start.size) + " ranks were asked for, mpirun started " +
                      std::to_string(end->size()));
    }
    const auto group = std::make_shared<RankGroup>(end);
    set_ranks(L, group);
    return group->rank();
  } catch (const std::exception& error) {
    why_not = error.what();
    return -1;
  }
}

void end_ranks(lua_State* L) {
  if (const Ranks* ranks = find_ranks(L)) ranks->group->end_all("it failed");
}

}  // namespace perilune::lua

extern "C" int luaopen_perilune_core(lua_State* L) {
  return perilune::lua::guarded_once<perilune::lua::open_core>(L);
}
