// JSON between the engine's values and Lua's.
#pragma once

#include "bindings/lua/edge/arguments.h"
#include "engine/base/json.h"

namespace perilune::lua {

/// How JSON becomes Lua values. Indices are of the stack, 0 for nil.
struct JsonReading {
  int list_null = 0;    // what stands for null in a list
  int member_null = 0;  // and in an object, where nil is no member
  bool order = false;   // objects remember the order of their members
};

/// How Lua values become JSON.
struct JsonWriting {
  std::string op = "write_json";
  int null = 0;                    // index of what is written as null; 0: nothing
  bool finite = false;             // a NaN or infinity is an error instead of null
  std::vector<std::string> order;  // members that come first, in this order
};

/// Arrays are marked, so that an empty one stays one.
void push_json(lua_State* L, const Json& value, const JsonReading& how = {});
/// The value at `index`. Marked lists and tables with entries 1..n become arrays; members are in
/// the order that the table remembers, or sorted. Throws Error(argument), with the value's place,
/// for what JSON cannot hold, for lists with holes or names, and for tables nested too deeply, or
/// in themselves.
Json to_json(lua_State* L, int index, const JsonWriting& how = {});
/// Names of the members of the object at `index`, in the order that it remembers, or sorted.
std::vector<std::string> member_names(lua_State* L, int index);
/// Pushes the metatable that marks a list as an array.
void push_array_metatable(lua_State* L);

}  // namespace perilune::lua
