#include "bindings/lua/edge/json.h"

#include <algorithm>
#include <cmath>

namespace perilune::lua {

namespace {

constexpr char kArrayKey = 0;  // its address: metatable of lists made by core.array
constexpr int kMaxDepth = 64;

bool marked_array(lua_State* L, int index) {
  if (lua_getmetatable(L, index) == 0) return false;
  push_array_metatable(L);
  const bool same = lua_rawequal(L, -1, -2) != 0;
  lua_pop(L, 2);
  return same;
}

Json read_value(lua_State* L, int index, int depth);

Json table_read_value(lua_State* L, int index, int depth) {
  const int table = absolute(L, index);
  const std::size_t count = lua_objlen(L, table);
  if (count > 0 || marked_array(L, table)) {
    Json array = Json::array();
    for (std::size_t i = 1; i <= count; ++i) {
      lua_rawgeti(L, table, static_cast<int>(i));
      array.push(read_value(L, -1, depth + 1));
      lua_pop(L, 1);
    }
    return array;
  }
  std::vector<std::pair<std::string, Json>> members;
  for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING) {
      throw Error(ErrorCode::argument, "write_json",
                  "a table's keys must be 1..n or names, got " + describe_value(L, -2));
    }
    members.emplace_back(lua_tostring(L, -2), read_value(L, -1, depth + 1));
  }
  std::sort(members.begin(), members.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  Json object = Json::object();
  for (auto& member : members) object.set(member.first, std::move(member.second));
  return object;
}

Json read_value(lua_State* L, int index, int depth) {
  if (depth > kMaxDepth) {
    throw Error(ErrorCode::argument, "write_json", "the value is nested too deeply, or in itself");
  }
  reserve_stack(L, 8);
  switch (lua_type(L, index)) {
    case LUA_TNIL: return {};
    case LUA_TBOOLEAN: return {lua_toboolean(L, index) != 0};
    case LUA_TNUMBER: {
      const double value = lua_tonumber(L, index);
      if (value == std::floor(value) && std::abs(value) <= kMaxWhole) {
        return {static_cast<std::int64_t>(value)};
      }
      return {value};
    }
    case LUA_TSTRING: return {to_text(L, index, "write_json", "value")};
    case LUA_TTABLE: return table_read_value(L, index, depth);
    default:
      throw Error(ErrorCode::argument, "write_json",
                  describe_value(L, index) + " cannot be written as JSON");
  }
}

}  // namespace

void push_array_metatable(lua_State* L) {
  lua_pushlightuserdata(L, const_cast<char*>(&kArrayKey));
  lua_rawget(L, LUA_REGISTRYINDEX);
  if (lua_istable(L, -1)) return;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushlightuserdata(L, const_cast<char*>(&kArrayKey));
  lua_pushvalue(L, -2);
  lua_rawset(L, LUA_REGISTRYINDEX);
}

Json to_json(lua_State* L, int index) {
  return read_value(L, index, 0);
}

void push_json(lua_State* L, const Json& value) {
  reserve_stack(L, 8);  // depth is bounded by the parser
  switch (value.kind()) {
    case Json::Kind::null: lua_pushnil(L); break;
    case Json::Kind::boolean: lua_pushboolean(L, value.as_boolean() ? 1 : 0); break;
    case Json::Kind::integer: push_integer(L, value.as_integer()); break;
    case Json::Kind::number: lua_pushnumber(L, value.as_number()); break;
    case Json::Kind::string: push_text(L, value.as_string()); break;
    case Json::Kind::array: {
      lua_newtable(L);
      int position = 0;
      for (const Json& item : value.items()) {
        push_json(L, item);
        lua_rawseti(L, -2, ++position);
      }
      push_array_metatable(L);
      lua_setmetatable(L, -2);
      break;
    }
    case Json::Kind::object:
      lua_newtable(L);
      for (const auto& [name, member] : value.members()) {
        push_text(L, name);
        push_json(L, member);
        lua_rawset(L, -3);
      }
      break;
  }
}

}  // namespace perilune::lua
