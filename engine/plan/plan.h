// A program made ready: compute mode, device per op, fusions, packed weights, buffer lifetimes.
// Immutable and shared. And its execution, which can stop between two ops and go on.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "engine/plan/placement.h"
#include "engine/plan/rank_split.h"

namespace perilune {

class KernelClock;

struct PlanOptions {
  kernels::MathMode math = kernels::MathMode::f32;
  DType cache_dtype = DType::f32;
  std::shared_ptr<Device> device;       // of ops that `devices` does not name; null: the CPU
  std::vector<PlacedPath> devices;      // modules on devices of their own
  std::shared_ptr<ThreadPool> threads;  // of CPU ops; null: the context's
  bool fuse = true;
  /// Canonical paths to give back; each must be marked (or be layers.N...attention.weights).
  std::vector<std::string> outputs;
  /// Several ranks compute it, each on one device; null: this process alone. Runs of rank 0 are
  /// runs of all, each whole (no deadline stops them); those of the others give nothing back.
  std::shared_ptr<const RankShare> ranks;
  std::string rank_key;  // by which followers find theirs
};

/// What a part of a plan takes on the device that it runs on.
struct PlanPart {
  ProgramPart part;
  std::shared_ptr<Device> device;
  std::vector<std::pair<std::string, std::size_t>> weights;  // by path: packed bytes
  std::int64_t cache_bytes_per_token = 0;
};

class Plan {
 public:
  /// Throws for an unknown output path (naming the nearest) or an op that a device lacks.
  static std::shared_ptr<const Plan> make(std::shared_ptr<Context> context,
                                          std::shared_ptr<const Program> program,
                                          PlanOptions options);

  const std::shared_ptr<Context>& context() const { return context_; }
  const Program& program() const { return *program_; }
  const PlanOptions& options() const { return options_; }
  const std::vector<PlanStep>& steps() const { return steps_; }
  const std::vector<PlanValue>& values() const { return values_; }
  /// The steps whose ops make ragged axes, in order.
  const std::vector<std::size_t>& axis_steps() const { return axis_steps_; }
  /// Output and mark names -> value.
  const std::vector<std::pair<std::string, int>>& outputs() const { return outputs_; }
  /// Bytes of activations for this many tokens and rows; `on`: of one device, null: of all.
  std::size_t arena_bytes(std::int64_t tokens, std::int64_t rows, const Device* on = nullptr) const;
  /// Bytes of weights read once per pass; `on` as above. What one of `others` has on the same
  /// device is left out.
  std::size_t weight_bytes(const std::vector<const Plan*>& others = {},
                           const Device* on = nullptr) const;
  std::vector<PlanPart> parts() const;
  std::string text() const;
  /// The program's slots of keys and values, each with the device of its layer.
  std::vector<KvSlotSpec> kv_slots() const;
  /// The devices that ops and values name.
  const std::vector<std::shared_ptr<Device>>& devices() const { return devices_; }
  /// Packs every weight now (else it happens at the first run). progress(done, total).
  void pack(const std::function<void(std::size_t, std::size_t)>& progress = nullptr) const;
  /// What each step's op reads that no run changes, resolved once; packs what is not packed yet.
  /// Thread-safe.
  const std::vector<OpConstants>& constants() const;

 private:
  Plan() = default;
  friend class PlanBuilder;
  std::shared_ptr<Context> context_;
  std::shared_ptr<const Program> program_;
  PlanOptions options_;
  std::vector<PlanStep> steps_;
  std::vector<std::size_t> axis_steps_;
  std::vector<PlanValue> values_;
  std::vector<std::pair<std::string, int>> outputs_;
  friend class Execution;
  std::vector<std::shared_ptr<Device>> devices_;
  int buffers_ = 0;
  std::map<std::string, std::int64_t> rank_kv_heads_;  // by slot path, of this rank
  mutable std::mutex mutex_;
  mutable bool resolved_ = false;
  mutable std::vector<OpConstants> constants_;  // per step
};

/// Plan + batch + its own arena + the next op. Reusable: bind again for the next step; buffers grow
/// and stay.
class Execution {
 public:
  explicit Execution(std::shared_ptr<const Plan> plan);
  ~Execution();
  Execution(const Execution&) = delete;
  Execution& operator=(const Execution&) = delete;

  /// Sizes every value for this batch. Nothing is allocated when the sizes are those of the last
  /// one and no op makes a ragged axis, but for tables that grow in steps with the length of
  /// sequences. Throws Error(memory), and is unbound then; cache and batch are untouched.
  void bind(std::shared_ptr<PassBinding> binding);
  /// Lets the binding and what was read from it go; sizes and memory stay for the next bind.
  void release();
  /// Runs until done or until clock_seconds() >= deadline, checked between two ops and inside those
  /// that take long on the CPU; at least one op or a part of it runs. True when done. Throws
  /// Error(cancelled) when the context is interrupted.
  bool run(double deadline = 1e300);
  bool done() const;
  /// Ops of the device whose table a clock times call its kernels through the clock, which outlives
  /// their runs; null: as ever.
  void use_clock(const KernelClock* clock);
  const Plan& plan() const;
  PassBinding& binding();
  /// An output or asked path by name; a view of the arena, valid until the next bind (copy to
  /// keep).
  Tensor output(const std::string& name) const;
  std::vector<std::string> output_names() const;

 private:
  struct State;
  bool run_ops(double deadline);
  bool run_with_ranks();
  std::unique_ptr<State> state_;
};

}  // namespace perilune
