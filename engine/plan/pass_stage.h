// One pass of a run, with what it is bound to and what it made.
#pragma once

#include "engine/plan/execution_store.h"
#include "engine/plan/named_tensors.h"

namespace perilune {

/// One of the encode, cross and main passes of a PassRun.
struct Stage {
  std::shared_ptr<const Plan> plan;
  std::shared_ptr<const Batch> batch;
  std::shared_ptr<PassBinding> binding;
  std::unique_ptr<Execution> execution;  // null where the caller writes the pass line by line
  NamedTensors written;                  // what such a caller made
  bool bound = false, done = false;

  void end(ExecutionStore& store);
  Tensor output(const std::string& name) const;
  std::vector<std::string> names() const;
  NamedTensors on_host() const;
  /// The batch with the rows of axes that the pass made; null where it made none.
  std::shared_ptr<const Batch> answered() const;
};

}  // namespace perilune
