// Userdata: a C++ value inside, methods and fields by name, unknown names raise with the nearest.
#pragma once

#include <new>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "bindings/lua/edge/guard.h"

namespace perilune::lua {

/// The name scripts know a type by; specialised next to each type.
template <class T>
struct TypeName;

template <class T>
inline constexpr char kTypeTag = 0;  // its address is the registry key of the metatable

struct Member {
  const char* name;
  lua_CFunction function;
};

/// Makes the metatable of a type and leaves nothing on the stack. `getters` get the userdata.
void make_type(lua_State* L, const void* tag, const char* name, lua_CFunction collect,
               std::span<const Member> methods, std::span<const Member> getters,
               std::span<const Member> metamethods);
/// Sets functions in the table on top of the stack.
void set_functions(lua_State* L, std::span<const Member> functions);
/// Pushes the metatable made for `tag`.
void push_type(lua_State* L, const void* tag);
/// core.extend: pushes the table of methods of the type called `name`, or throws.
void push_methods(lua_State* L, const std::string& name);
/// Names of a type's methods and fields, for completion: a list on top of the stack.
void push_member_names(lua_State* L, int index);
/// The userdata's memory when it has the tag's metatable, else null.
void* test_tag(lua_State* L, int index, const void* tag);
/// "a Tensor", "\"text\"", "12", "nil": a value for messages.
std::string describe_value(lua_State* L, int index);

template <class T>
int collect(lua_State* L) {
  const Entry entry(L);
  static_cast<T*>(lua_touserdata(L, 1))->~T();
  lua_pushnil(L);
  lua_setmetatable(L, 1);  // a second finalizer call, or a use after it, finds no type
  return 0;
}

template <class T>
void register_type(lua_State* L, std::span<const Member> methods, std::span<const Member> getters,
                   std::span<const Member> metamethods = {}) {
  make_type(L, &kTypeTag<T>, TypeName<T>::value, collect<T>, methods, getters, metamethods);
}

template <class T>
T& push_object(lua_State* L, T object) {
  static_assert(alignof(T) <= 8, "what a userdata's memory is aligned to");
  reserve_stack(L, 4);
  void* memory = lua_newuserdata(L, sizeof(T));
  T* made = new (memory) T(std::move(object));
  push_type(L, &kTypeTag<T>);
  lua_setmetatable(L, -2);
  return *made;
}

template <class T>
T* test_object(lua_State* L, int index) {
  return static_cast<T*>(test_tag(L, index, &kTypeTag<T>));
}

/// The object at `index`, or Error(argument) "OP: NAME: expected a TYPE, got ...".
template <class T>
T& check_object(lua_State* L, int index, const char* op, const char* name) {
  if (T* found = test_object<T>(L, index)) return *found;
  Error error(ErrorCode::argument, op,
              std::string(name) + ": expected a " + TypeName<T>::value + ", got " +
                  describe_value(L, index));
  if (std::string_view(name) == "self")
    error.hint(std::string("call methods with a colon: object:") + op + "(...)");
  throw error;
}

template <class T>
T& self(lua_State* L, const char* op) {
  return check_object<T>(L, 1, op, "self");
}

}  // namespace perilune::lua
