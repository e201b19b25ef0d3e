// A checkpoint as scripts hold it.
#pragma once

#include <memory>

#include "bindings/lua/edge/user_type.h"
#include "engine/weights/checkpoint.h"

namespace perilune::lua {

struct CheckpointObject {
  std::shared_ptr<Checkpoint> checkpoint;  // null after close()
};
template <>
struct TypeName<CheckpointObject> {
  static constexpr const char* value = "Checkpoint";
};

}  // namespace perilune::lua
