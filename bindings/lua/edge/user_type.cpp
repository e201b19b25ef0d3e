#include "bindings/lua/edge/user_type.h"

#include <algorithm>
#include <vector>

#include "engine/base/near_names.h"
#include "engine/base/number_text.h"

namespace perilune::lua {

namespace {

constexpr char kTypesKey = 0;  // its address: registry table from name to methods

void push_types(lua_State* L) {
  lua_pushlightuserdata(L, const_cast<char*>(&kTypesKey));
  lua_rawget(L, LUA_REGISTRYINDEX);
  if (lua_istable(L, -1)) return;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushlightuserdata(L, const_cast<char*>(&kTypesKey));
  lua_pushvalue(L, -2);
  lua_rawset(L, LUA_REGISTRYINDEX);
}

void add_keys(lua_State* L, int table, std::vector<std::string>& names) {
  if (!lua_istable(L, table)) return;
  for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1)) {
    if (lua_type(L, -2) == LUA_TSTRING) names.emplace_back(lua_tostring(L, -2));
  }
}

/// Stack: userdata, key; upvalues: methods, getters, type name.
int unknown_member(lua_State* L) {
  const std::string type = lua_tostring(L, lua_upvalueindex(3));
  const std::string name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  if (name.empty()) {
    throw Error(ErrorCode::argument, type, "cannot be indexed with " + describe_value(L, 2))
        .hint(type == "Tensor" ? "use t:at{ axis=position }" : "use its methods");
  }
  std::vector<std::string> names;
  add_keys(L, lua_upvalueindex(1), names);
  add_keys(L, lua_upvalueindex(2), names);
  std::sort(names.begin(), names.end());
  throw Error(ErrorCode::argument, type, "has no field or method \"" + name + "\"")
      .hint(unknown_name_hint(name, names, "names", type));
}

int index_member(lua_State* L) {
  lua_settop(L, 2);
  lua_pushvalue(L, 2);
  lua_rawget(L, lua_upvalueindex(1));
  if (!lua_isnil(L, -1)) return 1;
  lua_pop(L, 1);
  lua_pushvalue(L, 2);
  lua_rawget(L, lua_upvalueindex(2));
  if (!lua_isnil(L, -1)) {
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
    return 1;
  }
  if (run_guarded(L, unknown_member, false) >= 0) return 0;
  return lua_error(L);
}

int set_member(lua_State* L) {
  const std::string type = lua_tostring(L, lua_upvalueindex(1));
  throw Error(ErrorCode::argument, type, "fields cannot be set: " + describe_value(L, 2))
      .hint(type == "Tensor" ? "t:set(value, { axis=position }) writes into it" : "");
}

int length(lua_State* L) {
  throw Error(ErrorCode::argument, lua_tostring(L, lua_upvalueindex(1)),
              "# and ipairs do not work on it")
      .hint("use t:size(axis), b.size or b:rows()");
}

/// What people mean who call an object as if it were a function.
int call_object(lua_State* L) {
  const std::string type = lua_tostring(L, lua_upvalueindex(1));
  const std::pair<const char*, const char*> kMeant[] = {
      {"Tokenizer", "tok:encode(text) gives a batch, tok:ids(text) the ids"},
      {"Tensor", "t:at{ axis=position } gives a part of it"},
      {"Batch", "b:row(i) gives a row"}};
  Error error(ErrorCode::argument, type, "cannot be called");
  for (const auto& [name, hint] : kMeant) {
    if (type == name) error.hint(hint);
  }
  throw error;
}

int concat(lua_State* L) {
  throw Error(ErrorCode::argument, lua_tostring(L, lua_upvalueindex(1)), "cannot be concatenated")
      .hint("use tostring(value)");
}

void set_members(lua_State* L, std::span<const Member> members) {
  for (const Member& member : members) {
    lua_pushcfunction(L, member.function);
    lua_setfield(L, -2, member.name);
  }
}

void set_named_closure(lua_State* L, const char* key, const char* name, lua_CFunction function) {
  lua_pushstring(L, name);
  lua_pushcclosure(L, function, 1);
  lua_setfield(L, -2, key);
}

}  // namespace

void make_type(lua_State* L, const void* tag, const char* name, lua_CFunction collect,
               std::span<const Member> methods, std::span<const Member> getters,
               std::span<const Member> metamethods) {
  lua_pushlightuserdata(L, const_cast<void*>(tag));
  lua_newtable(L);  // the metatable
  lua_pushcfunction(L, collect);
  lua_setfield(L, -2, "__gc");
  lua_pushstring(L, name);
  lua_setfield(L, -2, "__name");
  lua_createtable(L, 0, 1);  // what getmetatable gives: the name, and no way to the finalizer
  lua_pushstring(L, name);
  lua_setfield(L, -2, "__name");
  lua_setfield(L, -2, "__metatable");
  set_named_closure(L, "__newindex", name, guarded<set_member>);
  set_named_closure(L, "__len", name, guarded<length>);
  set_named_closure(L, "__concat", name, guarded<concat>);
  set_named_closure(L, "__call", name, guarded<call_object>);
  set_members(L, metamethods);

  lua_newtable(L);
  set_members(L, methods);
  push_types(L);
  lua_pushvalue(L, -2);
  lua_setfield(L, -2, name);
  lua_pop(L, 1);
  lua_newtable(L);
  set_members(L, getters);
  // Kept for push_member_names as well.
  lua_pushvalue(L, -2);
  lua_setfield(L, -4, "methods");
  lua_pushvalue(L, -1);
  lua_setfield(L, -4, "fields");
  lua_pushstring(L, name);
  lua_pushcclosure(L, index_member, 3);
  lua_setfield(L, -2, "__index");
  lua_rawset(L, LUA_REGISTRYINDEX);
}

void push_type(lua_State* L, const void* tag) {
  lua_pushlightuserdata(L, const_cast<void*>(tag));
  lua_rawget(L, LUA_REGISTRYINDEX);
}

void push_methods(lua_State* L, const std::string& name) {
  push_types(L);
  lua_getfield(L, -1, name.c_str());
  lua_remove(L, -2);
  if (!lua_istable(L, -1)) {
    throw Error(ErrorCode::argument, "extend", "no type is called \"" + name + "\"");
  }
}

void push_member_names(lua_State* L, int index) {
  std::vector<std::string> names;
  if (lua_type(L, index) == LUA_TUSERDATA && lua_getmetatable(L, index) != 0) {
    for (const char* part : {"methods", "fields"}) {
      lua_pushstring(L, part);
      lua_rawget(L, -2);
      add_keys(L, lua_gettop(L), names);
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
  }
  std::sort(names.begin(), names.end());
  lua_createtable(L, static_cast<int>(names.size()), 0);
  int position = 0;
  for (const std::string& name : names) {
    lua_pushlstring(L, name.data(), name.size());
    lua_rawseti(L, -2, ++position);
  }
}

void* test_tag(lua_State* L, int index, const void* tag) {
  if (lua_type(L, index) != LUA_TUSERDATA || lua_getmetatable(L, index) == 0) return nullptr;
  push_type(L, tag);
  const bool same = lua_rawequal(L, -1, -2) != 0 && lua_istable(L, -1);
  lua_pop(L, 2);
  return same ? lua_touserdata(L, index) : nullptr;
}

std::string describe_value(lua_State* L, int index) {
  switch (lua_type(L, index)) {
    case LUA_TNONE: return "nothing";
    case LUA_TNIL: return "nil";
    case LUA_TBOOLEAN: return lua_toboolean(L, index) != 0 ? "true" : "false";
    case LUA_TNUMBER: return number_text(lua_tonumber(L, index), 14);
    case LUA_TSTRING: {
      std::string text(lua_tostring(L, index));
      if (text.size() > 40) text = text.substr(0, 37) + "...";
      return "\"" + text + "\"";
    }
    case LUA_TUSERDATA:
      if (lua_getmetatable(L, index) != 0) {
        lua_pushliteral(L, "__name");
        lua_rawget(L, -2);
        const std::string name = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "userdata";
        lua_pop(L, 2);
        return "a " + name;
      }
      return "a userdata";
    default: return std::string("a ") + luaL_typename(L, index);
  }
}

void set_functions(lua_State* L, std::span<const Member> functions) {
  for (const Member& member : functions) {
    lua_pushcfunction(L, member.function);
    lua_setfield(L, -2, member.name);
  }
}

}  // namespace perilune::lua
