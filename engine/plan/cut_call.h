// A long kernel call in parts, so that a run can stop inside it: a product of many outputs or rows,
// attention of many tokens, keys of many tokens that go into fresh memory. Where it is cut changes
// no bit, since every output is computed by itself.
#pragma once

#include <vector>

#include "engine/ops/bound_call.h"

namespace perilune {

/// One call under way. Its inputs and scratch must stay as they are until it is done.
class CutCall {
 public:
  /// Whether the call may not end before `deadline` (of clock_seconds()), or has begun in parts;
  /// others are run whole. Calls of the CPU only: a device works on its own.
  bool wanted(const BoundCall& call, const BoundRun& run, double deadline) const;
  /// Runs parts until the call is done (true) or the deadline has passed; at least one.
  bool run(const BoundCall& call, const BoundRun& run, double deadline);
  /// Forgets a call that will not be gone on with.
  void reset();

 private:
  bool run_linear(const BoundCall::Linear& linear, const BoundRun& run, double deadline);
  template <class Arguments, class Kernel>
  bool run_tokens(Arguments arguments, const std::vector<kernels::KvRow>& rows, const BoundRun& run,
                  double deadline, Kernel* kernel);
  template <class Each>
  void take_part(const std::vector<kernels::KvRow>& rows, const Each& products_of_one,
                 double wanted);
  void run_tasks(std::int64_t tasks, void (*task)(void* state, std::int64_t index), void* state);

  bool begun_ = false;
  std::int64_t done_ = 0;  // tokens, or tasks of a product's loop `loop_`
  std::int64_t loop_ = 0;  // parallel loops of the kernel that are done
  // Of the call to a kernel that is being made:
  std::int64_t seen_ = 0;
  bool ran_ = false, stopped_ = false;
  double deadline_ = 0;
  kernels::Parallel threads_;
  std::int64_t wave_ = 0;             // tasks between two looks at the clock
  std::vector<kernels::KvRow> part_;  // of the rows
};

}  // namespace perilune
