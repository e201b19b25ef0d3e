// What all scopes of one pass share.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "engine/program/pass.h"
#include "engine/weights/checkpoint.h"

namespace perilune {

/// Borrowed by every Net of the pass.
struct NetState {
  std::shared_ptr<Pass> pass;
  std::shared_ptr<Checkpoint> checkpoint;
  std::map<std::string, Value> memo;  // rope tables made once a pass
  bool names_only =
      false;  // a head that was not chosen: weights are touched, missing ones no error
};

}  // namespace perilune
