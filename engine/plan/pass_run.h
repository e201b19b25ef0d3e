// One way to run a pass: look whether it fits, reserve, bind, run, read back, commit or roll back;
// an encoder-decoder's encode and cross before its decode, the choice of rows included. The
// scheduler and the bindings are its callers; nothing else knows the order. Knows nothing of
// requests, policies and scripts.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/plan/plan.h"

namespace perilune {

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

/// Executions with their arenas, kept between runs: those of the plans used last. Not thread-safe.
class ExecutionStore {
 public:
  explicit ExecutionStore(std::size_t most = 4) : most_(most) {}
  /// The one that is kept for this plan, else a new one (a nested run of a plan has its own).
  std::unique_ptr<Execution> take(const std::shared_ptr<const Plan>& plan);
  void give(std::unique_ptr<Execution> execution);

 private:
  std::size_t most_;
  std::vector<std::unique_ptr<Execution>> kept_;  // used last: at the end
};

/// One pass of a run: compiled, or written line by line on real tensors.
struct PassStage {
  std::shared_ptr<const Plan> plan;  // null: there is no such pass
  /// When set, this runs the pass in the plan's place, and gives its outputs and asked paths.
  std::function<NamedTensors(const std::shared_ptr<PassBinding>&)> eager;
};

/// What to run. Rows of `source`, `batch` and `caches` belong together by their number.
struct PassWork {
  PassStage encode, cross;              // first, over `source`; cross writes its keys and values
  PassStage main;                       // then, over `batch`; null: only the source is encoded
  std::shared_ptr<const Batch> source;  // null without encode
  /// Its row_selection() says for which tokens logits are computed (see wanted_offsets).
  std::shared_ptr<const Batch> batch;
  /// Borrowed, one a row, or none for passes that keep nothing. Rows whose results are thrown away
  /// (fillers of a padded step) have caches as well.
  std::vector<SequenceCache*> caches;
};

/// Offsets in row `row` of `batch` whose logits are computed, ascending: what the batch says itself
/// (Batch::row_selection), else the program's default: the last token where its head predicts a next
/// one, all tokens otherwise. The one place with this rule.
std::vector<std::int64_t> wanted_offsets(const Batch& batch, std::int64_t row,
                                         const Program& program);

/// Rows of the first axis that `output` of this plan has for a batch, asked of the pass's ops (a
/// convolution halves frames). Nothing runs and nothing is allocated.
RaggedRows output_rows(const Plan& plan, const std::shared_ptr<const Batch>& batch,
                       const std::string& output = "encoded");

/// Whether a run's keys and values fit the caches.
struct PassFit {
  bool fits = true;
  std::size_t row = 0;         // the first that does not fit, with the positions that it adds
  std::int64_t positions = 0;  // (of a cross pass: the encoded rows)
  std::int64_t free_bytes = 0, budget = 0;
};

/// One run, in this order:
///   PassRun run(store, work);       checks operands; nothing is taken yet
///   if (!run.reserve()) ...         or reserve_or_throw(); all rows get room, or none
///   while (!run.run(deadline)) ...  any error: rollback(), or drop the run
///   Tensor t = run.output("logits"), NamedTensors all = run.read_back();   may fail as run() may
///   run.commit();                   cannot fail
/// Dropped before commit(), it gives back all that it reserved.
class PassRun {
 public:
  /// Throws Error(argument | state) for operands that do not belong together. `store` must outlive
  /// the run.
  PassRun(ExecutionStore& store, PassWork work);
  ~PassRun();
  PassRun(const PassRun&) = delete;
  PassRun& operator=(const PassRun&) = delete;

  /// Changes nothing.
  PassFit fits() const;
  /// Room for what the run writes; true where it is reserved already. False: nothing is held.
  bool reserve();
  /// The same, with an Error(memory) that names `op`, the row and both numbers.
  void reserve_or_throw(const std::string& op);
  /// Goes on until all passes are done (true) or clock_seconds() >= deadline (checked between two
  /// ops; at least one runs). Reserves first where nobody has. Throws what an op throws,
  /// Error(memory) for an arena, Error(cancelled) when the context is interrupted.
  bool run(double deadline = 1e300);
  bool done() const;

  /// An output or asked path of the main pass, where it was computed; valid until this object goes.
  Tensor output(const std::string& name) const;
  /// All of them as copies on the host, as answers go out: wanted rows are [batch, ...] for
  /// RowSelection::last, with the batch's own identities where they are all of its tokens. This is
  /// where a fault of a device's asynchronous work shows.
  NamedTensors read_back() const;
  /// The same of the encoder.
  NamedTensors read_back_encoded() const;
  /// The binding of the main pass (of encode where there is none); made by run().
  const PassBinding& binding() const;
  /// Per row: what the source became in length; empty without an encoder.
  const std::vector<std::int64_t>& encoded_lengths() const;

  /// What was written becomes part of the caches.
  void commit();
  /// Gives back what was reserved; after commit() it does nothing.
  void rollback();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The part of an output (on the host) that belongs to row `row`, as a copy with the identities of
/// `input`, the row's own batch of one; [batch=1, ...] where `input` asked for its last token.
Tensor row_output(const Tensor& output, std::size_t row, const PassBinding& binding,
                  const Batch& input, const Program& program);

}  // namespace perilune
