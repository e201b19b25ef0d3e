// A kernel call made ready ahead of the runs that make it.
#pragma once

#include <array>
#include <variant>

#include "engine/ops/op.h"

namespace perilune {

/// Rows of keys and values that bound calls of one run share, each looked up by the first of them.
class KeptRows {
 public:
  struct Key {
    KvSlot slot;
    KvKind kind;
    bool writing;
    AxisIdentity axis;  // of the tokens, as the program numbers it
  };
  /// The number that calls with such a key get rows by.
  std::size_t number(const Key& key);
  /// No key is known any more.
  void clear() { entries_.clear(); }
  /// A new run: rows are looked up again.
  void begin();
  /// For this run; throws what PassBinding::kv_rows throws.
  const std::vector<kernels::KvRow>& rows(std::size_t number, const PassBinding& binding,
                                          const AxisRows& axes, RunTables& tables);

 private:
  struct Entry {
    Key key;
    const std::vector<kernels::KvRow>* rows = nullptr;
  };
  std::vector<Entry> entries_;
};

/// What of a run a bound call still asks for.
struct BoundRun {
  const kernels::KernelTable& kernels;
  const kernels::Launch& launch;
  const PassBinding& binding;
  const AxisRows& axes;
  RunTables& tables;
  KeptRows& kept;
};

/// One kernel with arguments that stay as they are while the sizes and buffers of a pass do, all in
/// one place: a step of the same sizes reads neither ops nor tensors. Empty where an op's arguments
/// follow the run.
struct BoundCall {
  static constexpr std::size_t kMostSegments = 4;
  struct Linear {
    kernels::LinearArguments arguments;  // its segments are those below, once settle() was called
    std::array<kernels::LinearSegment, kMostSegments> segments;
  };
  struct Norm {
    kernels::NormArguments arguments;
    bool layer;
  };
  /// Whose pages a run's tables give; only where the device reads those itself.
  struct Kept {
    KeptRows::Key key;
    std::size_t number = 0;  // in a run's KeptRows, from settle()
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
  /// Once it lies where it will be run from.
  void settle(KeptRows& kept);
  void run(const BoundRun& run);
};

}  // namespace perilune
