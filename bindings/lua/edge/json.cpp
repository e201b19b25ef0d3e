#include "bindings/lua/edge/json.h"

#include <algorithm>
#include <cmath>

#include "engine/base/interrupt.h"

namespace perilune::lua {

namespace {

constexpr char kArrayKey = 0;  // its address: metatable of lists made by core.array
constexpr char kOrderKey = 0;  // its address: an ordered object's metatable → list of names
constexpr int kMaxDepth = 64;

bool marked_array(lua_State* L, int index) {
  if (lua_getmetatable(L, index) == 0) return false;
  push_array_metatable(L);
  const bool same = lua_rawequal(L, -1, -2) != 0;
  lua_pop(L, 2);
  return same;
}

/// Names in the order in which the object at `table` was read.
std::vector<std::string> remembered_order(lua_State* L, int table) {
  std::vector<std::string> names;
  if (lua_getmetatable(L, table) == 0) return names;
  lua_pushlightuserdata(L, const_cast<char*>(&kOrderKey));
  lua_rawget(L, -2);
  if (lua_istable(L, -1)) names = to_texts(L, -1, "write_json", "order");
  lua_pop(L, 2);
  return names;
}

/// Puts the names that are in `first` before the others, in the order of `first`; gives the rest.
template <class Iterator, class NameOf>
Iterator lead(Iterator begin, Iterator end, const std::vector<std::string>& first, NameOf name_of) {
  for (const std::string& name : first) {
    const auto found =
        std::find_if(begin, end, [&](const auto& member) { return name_of(member) == name; });
    if (found == end) continue;
    std::rotate(begin, found, std::next(found));
    ++begin;
  }
  return begin;
}

class Writer {
 public:
  Writer(lua_State* L, const JsonWriting& how) : L_(L), how_(how) {}

  Json value(int index, int depth) {
    stop_if_interrupted(how_.op.c_str());
    if (depth > kMaxDepth) fail("the value is nested too deeply, or in itself");
    reserve_stack(L_, 8);
    if (how_.null != 0 && lua_rawequal(L_, index, how_.null) != 0) return {};
    switch (lua_type(L_, index)) {
      case LUA_TNIL: return {};
      case LUA_TBOOLEAN: return {lua_toboolean(L_, index) != 0};
      case LUA_TNUMBER: return number(lua_tonumber(L_, index));
      case LUA_TSTRING: return {to_text(L_, index, how_.op, "value")};
      case LUA_TTABLE: return table(absolute(L_, index), depth);
      default: fail(describe_value(L_, index) + " cannot be written as JSON");
    }
  }

 private:
  [[noreturn]] void fail(const std::string& problem) const {
    throw Error(ErrorCode::argument, how_.op, place_.empty() ? problem : place_ + ": " + problem);
  }

  Json number(double value) const {
    if (value == std::floor(value) && std::abs(value) <= kMaxWhole) {
      return {static_cast<std::int64_t>(value)};
    }
    if (how_.finite && !std::isfinite(value)) {
      fail(std::string(std::isnan(value) ? "a NaN" : "an infinity") + " cannot be written as JSON");
    }
    return {value};
  }

  Json table(int index, int depth) {
    const bool list = lua_objlen(L_, index) > 0 || marked_array(L_, index);
    return list ? array(index, depth) : object(index, depth);
  }

  Json array(int index, int depth) {
    const std::string name = place_.empty() ? "value" : place_;
    const std::size_t count = list_length(L_, index, how_.op, name);
    Json array = Json::array();
    for (std::size_t i = 1; i <= count; ++i) {
      lua_rawgeti(L_, index, static_cast<int>(i));
      array.push(inside("[" + std::to_string(i) + "]", depth));
      lua_pop(L_, 1);
    }
    return array;
  }

  Json object(int index, int depth) {
    std::vector<std::pair<std::string, Json>> members;
    for (lua_pushnil(L_); lua_next(L_, index) != 0; lua_pop(L_, 1)) {
      if (lua_type(L_, -2) != LUA_TSTRING) {
        fail("a table's keys must be 1..n or names, got " + describe_value(L_, -2));
      }
      std::string name = to_text(L_, -2, how_.op, "key");
      Json member = inside((place_.empty() ? "" : ".") + name, depth);
      members.emplace_back(std::move(name), std::move(member));
    }
    std::sort(members.begin(), members.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
    const auto name_of = [](const auto& member) -> const std::string& { return member.first; };
    const auto rest = lead(members.begin(), members.end(), how_.order, name_of);
    lead(rest, members.end(), remembered_order(L_, index), name_of);
    Json object = Json::object();
    for (auto& member : members) object.set(member.first, std::move(member.second));
    return object;
  }

  // The value on top of the stack, below this one under `name`.
  Json inside(const std::string& name, int depth) {
    const std::size_t length = place_.size();
    place_ += name;
    Json found = value(absolute(L_, -1), depth + 1);
    place_.resize(length);
    return found;
  }

  lua_State* L_;
  const JsonWriting& how_;
  std::string place_;  // "items[3].name"
};

void push_null(lua_State* L, int stand_in) {
  if (stand_in == 0) {
    lua_pushnil(L);
  } else {
    lua_pushvalue(L, stand_in);
  }
}

void push_object(lua_State* L, const Json& value, const JsonReading& how) {
  lua_createtable(L, 0, static_cast<int>(value.size()));
  for (const auto& [name, member] : value.members()) {
    push_text(L, name);
    if (member.is_null()) {
      push_null(L, how.member_null);
    } else {
      push_json(L, member, how);
    }
    lua_rawset(L, -3);
  }
  if (!how.order) return;
  lua_createtable(L, 0, 1);
  lua_pushlightuserdata(L, const_cast<char*>(&kOrderKey));
  lua_createtable(L, static_cast<int>(value.size()), 0);
  int position = 0;
  for (const auto& [name, member] : value.members()) {
    push_text(L, name);
    lua_rawseti(L, -2, ++position);
  }
  lua_rawset(L, -3);
  lua_setmetatable(L, -2);
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

std::vector<std::string> member_names(lua_State* L, int index) {
  const int table = absolute(L, index);
  std::vector<std::string> names;
  for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1)) {
    if (lua_type(L, -2) == LUA_TSTRING) names.push_back(to_text(L, -2, "json.names", "name"));
  }
  std::sort(names.begin(), names.end());
  lead(names.begin(), names.end(), remembered_order(L, table),
       [](const std::string& name) -> const std::string& { return name; });
  return names;
}

Json to_json(lua_State* L, int index, const JsonWriting& how) {
  return Writer(L, how).value(absolute(L, index), 0);
}

void push_json(lua_State* L, const Json& value, const JsonReading& how) {
  stop_if_interrupted("json");
  reserve_stack(L, 8);  // depth is bounded by the parser
  switch (value.kind()) {
    case Json::Kind::null: push_null(L, how.member_null); break;
    case Json::Kind::boolean: lua_pushboolean(L, value.as_boolean() ? 1 : 0); break;
    case Json::Kind::integer: push_integer(L, value.as_integer()); break;
    case Json::Kind::number: lua_pushnumber(L, value.as_number()); break;
    case Json::Kind::string: push_text(L, value.as_string()); break;
    case Json::Kind::array: {
      lua_createtable(L, static_cast<int>(value.size()), 0);
      int position = 0;
      for (const Json& item : value.items()) {
        if (item.is_null()) {
          push_null(L, how.list_null);
        } else {
          push_json(L, item, how);
        }
        lua_rawseti(L, -2, ++position);
      }
      push_array_metatable(L);
      lua_setmetatable(L, -2);
      break;
    }
    case Json::Kind::object: push_object(L, value, how); break;
  }
}

}  // namespace perilune::lua
