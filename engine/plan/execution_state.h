// What an execution holds; execution_binding.cpp fills it, execution.cpp runs it.
#pragma once

#include <optional>

#include "engine/device/kernel_clock.h"
#include "engine/ops/bound_call.h"
#include "engine/ops/run_tables.h"
#include "engine/plan/cut_call.h"
#include "engine/plan/pass_graphs.h"
#include "engine/plan/plan.h"

namespace perilune {

struct Execution::State {
  /// What a run does for a step: nothing for a view, a call made ready, or the op itself.
  enum class StepKind : std::uint8_t { view, call, op };

  /// What an execution holds on one of the plan's devices.
  struct Place {
    std::shared_ptr<Storage> arena;
    std::unique_ptr<Storage> scratch;
    kernels::Launch launch;
    const kernels::KernelTable* table = nullptr;  // the device's, or a clock's in its place
    bool on_host = false;                         // ops are calls that return when they are done
  };

  std::shared_ptr<const Plan> plan;
  std::shared_ptr<PassBinding> binding;
  AxisRows axes;
  RunTables tables;
  const std::vector<OpConstants>* constants = nullptr;  // of the plan
  std::optional<CacheLayout> layout;                    // that `slots` were found in
  bool cached = false;                                  // the last bind had caches
  std::vector<KvSlot> slots;                            // per step; of those with a kv_use
  std::vector<std::int64_t> totals, now;                // per program axis: last bind, this one
  std::vector<Place> places;
  std::vector<Tensor> tensors;                       // per value
  std::vector<std::vector<Tensor>> inputs, outputs;  // per step, as ops take them
  std::vector<BoundCall> calls;  // per step; those that hang on the batch's tensors stay empty
  KeptRows kept;                 // of the calls
  std::vector<StepKind> kinds;   // per step, close together: a run looks at each
  std::vector<std::size_t> input_values;   // that a step or an output reads
  std::vector<std::size_t> input_steps;    // steps that read an input, or a view of one
  std::vector<std::size_t> scratch_steps;  // steps whose scratch looks further than sizes
  std::vector<bool> given_ids;             // per step: ids come from an input, checked at bind
  std::vector<Tensor> lent_inputs;         // per value: inputs' memory on devices of their own
  CutCall cut;                             // the call that the last run stopped in
  const KernelClock* clock = nullptr;
  std::size_t next = 0;
  std::unique_ptr<DeviceEvent> end;  // of what was started last, where a device works on its own
  bool started = false;              // all ops were; the device has not been seen to be done
  PassGraphs graphs;                 // of passes that run again and again

  class Recording;

  bool reached(double deadline);
  DeviceGraph* graph_for_run();

  void look_at_steps();
  bool same_sizes();
  bool find_slots();
  void place_buffers();
  void grow_arena(Place& place, std::size_t device, std::size_t bytes);
  void make_tensors(bool all);
  const Tensor& given_input(const PlanValue& value) const;
  void read_input(std::size_t value);
  void check_given_ids(std::size_t value, const Tensor& host) const;
  void size_scratch(bool all);
  void bind_calls();
  OpRun op_run(std::size_t step);
  bool run_step(std::size_t step, double deadline);
  void run_op(std::size_t step);
  void fetch_ahead(std::size_t step) const;
  Tensor tagged(const Tensor& tensor) const;
};

}  // namespace perilune
