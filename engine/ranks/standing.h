// How ranks stand, before a step that all of them must take.
#pragma once

#include <string>

#include "engine/ranks/communicator.h"

namespace perilune {

/// The first rank on which something failed, and what; -1 where all are well.
struct FailedRank {
  int rank = -1;
  std::string what;
};

/// By all ranks at once, each with what failed on it ("": nothing; 255 bytes are told).
FailedRank find_failed(Communicator& ranks, const std::string& own);

}  // namespace perilune
