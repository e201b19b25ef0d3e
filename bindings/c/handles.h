// Handles: 4 bits of kind, 8 of slot, 20 of the slot's generation, 32 of the object's number. A
// closed instance's generation is over, and an object's number is never given twice, so that a
// handle kept too long is seen.
#pragma once

#include <cstdint>
#include <memory>

#include "bindings/c/perilune.h"

namespace perilune::c {

class Instance;

enum class Kind : std::uint8_t {
  none,
  instance,
  model,
  request,
  conversation,
  values,
  object,  // anything else of a script's
};

struct Handle {
  Kind kind = Kind::none;
  std::uint32_t slot = 0, generation = 0, number = 0;
};

Handle unpack(pl_handle handle);
pl_handle pack(const Handle& handle);

/// Registers an instance; 0 where 256 are open. `close_if_unused` ends it when the library is
/// unloaded, unless another thread is in it.
pl_handle add_instance(const std::shared_ptr<Instance>& instance,
                       bool (*close_if_unused)(Instance&));
/// The instance that the handle is, or belongs to; null for one that is closed or never was.
std::shared_ptr<Instance> find_instance(pl_handle handle);
/// The same, and its handles are over.
std::shared_ptr<Instance> take_instance(pl_instance handle);
/// Whether this process is the child of one that had instances.
bool forked();

}  // namespace perilune::c
