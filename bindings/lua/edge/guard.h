// The edge between C++ exceptions and Lua errors. No C++ object is alive when Lua raises.
#pragma once

#include <exception>
#include <string>

#include "bindings/lua/edge/state.h"

namespace perilune::lua {

/// An error that a Lua function raised inside a callback: keeps the value as it was raised.
class LuaError : public Error {
 public:
  LuaError(const Error& error, ReferencePointer value) : Error(error), value_(std::move(value)) {}
  const ReferencePointer& value() const { return value_; }

 private:
  ReferencePointer value_;
};

using Body = int (*)(lua_State*);

/// Runs `body`; gives its number of results, or -1 with an error table on top of the stack. With
/// `retry`, an Error(memory) runs the collector in full and then the body once more.
int run_guarded(lua_State* L, Body body, bool retry);

/// A Lua function made of a body that throws. Every entry of the binding goes through it.
template <Body body>
int guarded(lua_State* L) {
  const int results = run_guarded(L, body, true);
  if (results >= 0) return results;
  return lua_error(L);
}

/// The same for bodies that do more than make a value: never run twice.
template <Body body>
int guarded_once(lua_State* L) {
  const int results = run_guarded(L, body, false);
  if (results >= 0) return results;
  return lua_error(L);
}

/// Functions of scripts that the engine may be calling, one inside the other.
inline constexpr int kMostNested = 16;

/// Makes the error table for when there is no memory to make one.
void prepare_out_of_memory(lua_State* L);
/// Pushes it: allocates nothing.
void push_out_of_memory(lua_State* L);

/// Pushes the error table of `error`; `where` is "script.lua:12" or "".
void push_error(lua_State* L, const Error& error, const std::string& where);
/// Pushes the metatable of error tables.
void push_error_metatable(lua_State* L);

/// "script.lua:12" of the nearest Lua frame outside the standard library; "" without one.
std::string script_place(lua_State* L);
/// "llama.lua:41" of the nearest Lua frame, the standard library's own included.
std::string calling_place(lua_State* L);

/// Calls the function below `arguments` values with a traceback; throws LuaError where it raises,
/// Error(state) where kMostNested calls are running already.
void call(lua_State* L, int arguments, int results, const char* op);

/// Throws Error(state) unless `slots` more values fit the stack.
void reserve_stack(lua_State* L, int slots);

/// Lua raised what lies on top of the stack: throws Error(memory) where it ran out of memory, else
/// LuaError.
[[noreturn]] void throw_raised(lua_State* L, const char* op);

/// Runs `body`, which the engine calls and which uses Lua: the stack is as before it afterwards,
/// and what Lua raises on the way (it has no memory, a metamethod) is an exception of ours.
template <class Function>
auto callback(lua_State* L, const char* op, Function body) {
  const int top = lua_gettop(L);
  struct Restore {
    lua_State* L;
    int top;
    ~Restore() { lua_settop(L, top); }
  } restore{L, top};
  try {
    reserve_stack(L, LUA_MINSTACK);
    return body();
  } catch (const std::exception&) {
    throw;
  } catch (...) {
    throw_raised(L, op);
  }
}

}  // namespace perilune::lua
