// The scope a family writes its passes with.
#pragma once

#include <memory>

#include "bindings/lua/edge/user_type.h"
#include "bindings/lua/tensors/tensor_value.h"
#include "engine/program/net.h"

namespace perilune::lua {

/// Its environment table is its pass' own.
template <>
struct TypeName<Net> {
  static constexpr const char* value = "Net";
};
template <>
struct TypeName<KvHandle> {
  static constexpr const char* value = "KeysAndValues";
};

using RelativeBiasPointer = std::shared_ptr<const RelativeBias>;
template <>
struct TypeName<RelativeBiasPointer> {
  static constexpr const char* value = "RelativeBias";
};

void add_net(lua_State* L);

/// The scope, told where the script is.
inline const Net& scope_of(lua_State* L, const char* op) {
  const Net& net = self<Net>(L, op);
  net.state().pass->script_place = calling_place(L);
  return net;
}

/// Intermediate values of a pass are not scope-tracked: an eager pass and its hooks share them.
inline int push_result(lua_State* L, Value value) {
  push_value(L, std::move(value));
  return 1;
}

// Methods that change how long rows are (net_rows.cpp).
int net_conv1d(lua_State* L);
int net_patches(lua_State* L);
int net_prepend(lua_State* L);
int net_sinusoids(lua_State* L);

}  // namespace perilune::lua
