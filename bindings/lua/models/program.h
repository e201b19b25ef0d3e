// Programs as scripts hold them.
#pragma once

#include <memory>

#include "bindings/lua/edge/user_type.h"
#include "engine/program/program.h"

namespace perilune::lua {

using ProgramPointer = std::shared_ptr<const Program>;
template <>
struct TypeName<ProgramPointer> {
  static constexpr const char* value = "Program";
};

}  // namespace perilune::lua
