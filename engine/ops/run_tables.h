// Tables that the ops of one run share, made once for all layers: kernel rows of page groups, and
// relative biases by position. Kept with an execution, so that the next run uses their memory.
#pragma once

#include <memory>
#include <vector>

#include "engine/ops/op.h"

namespace perilune {

struct RelativeBias;

class RunTables {
 public:
  /// A new run begins: rows are made again when asked for, biases stay.
  void begin();
  /// Biases are made again: what the device was to get of them it may not have.
  void forget_biases();

  /// Kernel rows of a page group.
  const std::vector<kernels::KvRow>& kv_rows(const PassBinding& binding, const KvSlot& slot,
                                             KvKind kind, bool writing, AxisIdentity identity);
  /// What a kernel's device_rows takes for rows that kv_rows() gave: made once a run, null where
  /// the device reads host memory.
  const void* device_rows(const OpRun& run, const kernels::KvLayout& layout,
                          const std::vector<kernels::KvRow>& rows);

  /// A bias laid out by relative position (key - query).
  struct Bias {
    const float* entries = nullptr;  // [head, count] where the run's device reads them
    std::int64_t first = 0, count = 0;
  };
  /// The bias for at least [first, last], positions in steps of many so that a sequence that grows
  /// finds its table there; `last` <= 0 stays as it is. Its weight is read once a table.
  Bias bias(const OpRun& run, const std::shared_ptr<const RelativeBias>& bias, std::int64_t heads,
            std::int64_t first, std::int64_t last);

 private:
  struct Rows {
    int group;
    KvKind kind;
    bool writing;
    AxisIdentity identity;
    bool current = false, staged_now = false;
    std::vector<kernels::KvRow> rows;
    std::vector<std::byte> host;
    std::unique_ptr<Storage> staged;
  };
  struct BiasTable {
    std::shared_ptr<const RelativeBias> of;  // held, so that its address stays its own
    const Device* device;
    std::int64_t heads;
    std::int64_t first = 0, count = 0;
    std::vector<float> host;
    std::unique_ptr<Storage> staged;
  };
  std::vector<std::unique_ptr<Rows>> rows_;
  std::vector<std::unique_ptr<BiasTable>> biases_;
};

}  // namespace perilune
