// What all scopes of one pass share.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/ops/rope_frequencies.h"
#include "engine/program/pass.h"
#include "engine/weights/checkpoint.h"

namespace perilune {

/// The tables of one value of positions. Holds what it was made of, so that neither can go and
/// leave its place to another.
struct RopeTables {
  Value positions;
  std::shared_ptr<const RopeOptions> options;
  std::int64_t dims = 0;
  Value cosine, sine;
};

/// Borrowed by every Net of the pass.
struct NetState {
  std::shared_ptr<Pass> pass;
  std::shared_ptr<Checkpoint> checkpoint;
  std::vector<RopeTables> rope_tables;  // made once a pass
  bool names_only =
      false;           // a head that was not chosen: weights are touched, missing ones no error
  float outliers = 0;  // inputs from this magnitude are multiplied apart (OutlierLinearOp); 0: none
};

}  // namespace perilune
