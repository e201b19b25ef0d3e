// A kernel call made ready ahead of the runs that make it.
#pragma once

#include <array>
#include <variant>

#include "engine/ops/op.h"

namespace perilune {

/// What of a run a bound call still asks for.
struct BoundRun {
  const kernels::KernelTable& kernels;
  const kernels::Launch& launch;
  const PassBinding& binding;
  const AxisRows& axes;
  RunTables& tables;
};

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
  /// Whose pages a run's tables give; only where the device reads those itself.
  struct Kept {
    KvSlot slot;
    KvKind kind;
    AxisIdentity axis;  // of the tokens, as the program numbers it
  };
  struct KvWrite : Kept {
    kernels::KvWriteArguments arguments;
  };
  struct Attention : Kept {
    kernels::AttentionArguments arguments;
  };
  std::variant<std::monostate, Linear, Norm, kernels::RopeArguments, kernels::GatedArguments,
               KvWrite, Attention>
      call;

  bool empty() const { return call.index() == 0; }
  void run(const BoundRun& run) const;
};

}  // namespace perilune
