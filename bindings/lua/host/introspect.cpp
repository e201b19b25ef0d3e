// core: what there is, for help, completion and the tests that hold the reference to it: types with
// their members, and the text of the standard library.
#include <dlfcn.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "bindings/lua/edge/arguments.h"
#include "bindings/lua/host/embedded_stdlib.h"
#include "bindings/lua/host/functions.h"
#include "bindings/lua/host/introspect.h"

namespace perilune::lua {

namespace {

namespace fs = std::filesystem;

// The table's string keys as a sorted list on top of the stack.
void push_sorted_keys(lua_State* L, int table) {
  std::vector<std::string> names;
  if (lua_istable(L, table)) {
    for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1)) {
      if (lua_type(L, -2) == LUA_TSTRING) names.emplace_back(lua_tostring(L, -2));
    }
  }
  std::sort(names.begin(), names.end());
  lua_createtable(L, static_cast<int>(names.size()), 0);
  int position = 0;
  for (const std::string& name : names) {
    push_text(L, name);
    lua_rawseti(L, -2, ++position);
  }
}

// At the top a metatable made by make_type: adds it to the table at `types`.
void add_type(lua_State* L, int types) {
  const int meta = lua_gettop(L);
  lua_pushliteral(L, "methods");
  lua_rawget(L, meta);
  lua_pushliteral(L, "fields");
  lua_rawget(L, meta);
  lua_pushliteral(L, "__name");
  lua_rawget(L, meta);
  if (lua_istable(L, meta + 1) && lua_istable(L, meta + 2) && lua_isstring(L, meta + 3)) {
    lua_createtable(L, 0, 2);
    push_sorted_keys(L, meta + 1);
    lua_setfield(L, -2, "methods");
    push_sorted_keys(L, meta + 2);
    lua_setfield(L, -2, "fields");
    lua_rawset(L, types);
  }
  lua_settop(L, meta);
}

/// core.types() -> { NAME = { methods = { names }, fields = { names } } }
int types(lua_State* L) {
  lua_settop(L, 0);
  lua_newtable(L);
  for (lua_pushnil(L); lua_next(L, LUA_REGISTRYINDEX) != 0; lua_pop(L, 1)) {
    if (lua_type(L, -2) == LUA_TLIGHTUSERDATA && lua_istable(L, -1)) add_type(L, 1);
  }
  return 1;
}

/// core.data_folder() -> where what is installed with the library lies: share/perilune of the
/// prefix that its own file, or the program, is in; nil where nothing is.
int data_folder(lua_State* L) {
  Dl_info info{};
  std::error_code failed;
  fs::path file;
  if (dladdr(reinterpret_cast<const void*>(&data_folder), &info) != 0 &&
      info.dli_fname != nullptr) {
    file = fs::canonical(info.dli_fname, failed);
  }
  // A program is not named: what it was called says nothing when PATH was searched for it.
  const bool library = file.extension() == ".so" || file.string().find(".so.") != std::string::npos;
  if (failed || !library) {
    file = fs::canonical("/proc/self/exe", failed);
  }
  constexpr int kLevels = 6;  // lib/x86_64-linux-gnu/lua/5.1
  for (int i = 0; i < kLevels && file.has_relative_path(); ++i) {
    file = file.parent_path();
    const fs::path folder = file / "share" / "perilune";
    if (!fs::is_directory(folder, failed)) continue;
    push_text(L, folder.string());
    return 1;
  }
  return 0;
}

struct Source {
  std::string name;  // as require asks for it
  std::string file;  // "stdlib/perilune/load.lua"
};

// Files of the folder that stands in for the embedded library, or those inside.
std::vector<Source> sources(lua_State* L) {
  std::vector<Source> list;
  if (const std::string folder = stdlib_folder(L); !folder.empty()) {
    std::error_code fault;
    for (fs::recursive_directory_iterator at(folder, fault), end; at != end; at.increment(fault)) {
      if (fault || at->path().extension() != ".lua") continue;
      const std::string path = at->path().lexically_relative(folder).generic_string();
      std::string name = path.substr(0, path.size() - 4);
      if (name.size() > 5 && name.compare(name.size() - 5, 5, "/init") == 0) {
        name.resize(name.size() - 5);
      }
      std::replace(name.begin(), name.end(), '/', '.');
      list.push_back({name, "stdlib/" + path});
    }
  } else {
    for (std::size_t i = 0; i < kEmbeddedModuleCount; ++i) {
      list.push_back({kEmbeddedModules[i].name, kEmbeddedModules[i].file});
    }
  }
  std::sort(list.begin(), list.end(),
            [](const Source& a, const Source& b) { return a.file < b.file; });
  return list;
}

/// core.stdlib() -> list of { name=, file= }, sorted by file
int stdlib(lua_State* L) {
  lua_newtable(L);
  int position = 0;
  for (const Source& source : sources(L)) {
    lua_createtable(L, 0, 2);
    set_field(L, "name", source.name);
    set_field(L, "file", source.file);
    lua_rawseti(L, -2, ++position);
  }
  return 1;
}

/// core.stdlib_source(file) -> text
int stdlib_source(lua_State* L) {
  const std::string file = to_text(L, 1, "stdlib_source", "file");
  if (const std::string folder = stdlib_folder(L); !folder.empty()) {
    std::ifstream input(folder + file.substr(std::min<std::size_t>(6, file.size())),
                        std::ios::binary);
    if (input) {
      push_text(L, std::string(std::istreambuf_iterator<char>(input), {}));
      return 1;
    }
  }
  for (std::size_t i = 0; i < kEmbeddedModuleCount; ++i) {
    const EmbeddedModule& module = kEmbeddedModules[i];
    if (file != module.file) continue;
    lua_pushlstring(L, reinterpret_cast<const char*>(module.source), module.size);
    return 1;
  }
  throw Error(ErrorCode::argument, "stdlib_source", "no such file: " + file);
}

}  // namespace

void add_introspection(lua_State* L) {
  constexpr Member kFunctions[] = {
      {"data_folder", guarded<data_folder>},
      {"types", guarded<types>},
      {"stdlib", guarded<stdlib>},
      {"stdlib_source", guarded<stdlib_source>},
  };
  set_functions(L, kFunctions);
}

}  // namespace perilune::lua
