// Pools of keys and values, and what one sequence has in them.
#pragma once

#include <memory>

#include "bindings/lua/edge/user_type.h"
#include "engine/cache/cache.h"

namespace perilune::lua {

using CachePointer = std::shared_ptr<Cache>;
template <>
struct TypeName<CachePointer> {
  static constexpr const char* value = "Cache";
};
using SequencePointer = std::shared_ptr<SequenceCache>;
template <>
struct TypeName<SequencePointer> {
  static constexpr const char* value = "Sequence";
};

void add_cache(lua_State* L);

}  // namespace perilune::lua
