// Rotary options of a family, as a Lua table.
#pragma once

#include <memory>

#include "bindings/lua/edge/arguments.h"
#include "engine/ops/rope_frequencies.h"
#include "engine/weights/checkpoint.h"

namespace perilune::lua {

using RopePointer = std::shared_ptr<const RopeOptions>;
template <>
struct TypeName<RopePointer> {
  static constexpr const char* value = "RopeOptions";
};

/// { theta=, dims=, style=, scaling={ type=, ... }, factors= } at `index`. `checkpoint` holds the
/// tensor that factors= may name, or is null.
RopePointer read_rope(lua_State* L, int index, Checkpoint* checkpoint);

}  // namespace perilune::lua
