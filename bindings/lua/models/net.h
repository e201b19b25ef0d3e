// The scope a family writes its passes with.
#pragma once

#include <memory>

#include "bindings/lua/edge/user_type.h"
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

}  // namespace perilune::lua
