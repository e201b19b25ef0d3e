// A kernel call made ready ahead of the runs that make it.
#pragma once

#include <array>
#include <variant>

#include "kernels/kernel_table.h"

namespace perilune {

/// One kernel with arguments that stay as they are while the sizes and buffers of a pass do, all in
/// one place: a step of the same sizes reads neither ops nor tensors. Empty where an op's arguments
/// follow the run.
struct BoundCall {
  static constexpr std::size_t kMostSegments = 4;
  struct Linear {
    kernels::LinearArguments arguments;  // its segments are those below, wherever this lies
    std::array<kernels::LinearSegment, kMostSegments> segments;
  };
  struct Norm {
    kernels::NormArguments arguments;
    bool layer;
  };
  std::variant<std::monostate, Linear, Norm, kernels::RopeArguments, kernels::GatedArguments> call;

  bool empty() const { return call.index() == 0; }
  void run(const kernels::KernelTable& kernels, const kernels::Launch& launch) const;
};

}  // namespace perilune
