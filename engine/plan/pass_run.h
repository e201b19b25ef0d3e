// One way to run a pass: look whether it fits, reserve, bind, run, read back, commit or roll back;
// an encoder-decoder's encode and cross before its decode, the choice of rows included. The
// scheduler and the bindings are its callers; nothing else knows the order. Knows nothing of
// requests, policies and scripts.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/plan/execution_store.h"
#include "engine/plan/named_tensors.h"
#include "engine/plan/pass_rows.h"

namespace perilune {

/// What to run. Rows of `source`, `batch` and `caches` belong together by their number.
struct PassWork {
  /// Those that run, in this order. encode and cross read `source` (cross also encode's outputs, by
  /// their names; it writes cross keys and values), main reads `batch`. At least one is there.
  std::shared_ptr<const Plan> encode, cross, main;
  std::shared_ptr<const Batch> source;
  /// Its row_selection() says for which tokens logits are computed (see wanted_offsets).
  std::shared_ptr<const Batch> batch;
  /// Borrowed, one a row, or none for passes that keep nothing. Rows whose results are thrown away
  /// (fillers of a padded step) have caches as well.
  std::vector<SequenceCache*> caches;
  bool reserved = false;  // the caller has reserved all room already; the run gives it back
};

/// Whether a run's keys and values fit the caches.
struct PassFit {
  bool fits = true;
  std::size_t row = 0;         // the first that does not, and the positions that it adds: of its
  std::int64_t positions = 0;  // own tokens, or of its encoded source
  std::int64_t free_bytes = 0, budget = 0;
};

/// One run, in this order:
///   PassRun run(store, work);       checks operands; nothing is taken yet
///   if (!run.reserve()) ...         all rows get room, or none (or reserve_or_throw)
///   while (!run.run(deadline)) ...  after an error: rollback(), or drop the run
///   run.output("logits"), run.read_back()    may fail as run() may
///   run.commit();                   cannot fail
/// Dropped before commit(), it gives back all that it reserved.
class PassRun {
 public:
  /// Throws Error(argument | state) for operands that do not belong together. `store` must outlive
  /// the run.
  PassRun(ExecutionStore& store, PassWork work);
  /// One that has nothing to run until restart().
  explicit PassRun(ExecutionStore& store);
  ~PassRun();
  PassRun(const PassRun&) = delete;
  PassRun& operator=(const PassRun&) = delete;

  /// Another run in this one's memory; what was not committed is rolled back. Throws as the
  /// constructor does.
  void restart(const PassWork& work);
  /// Rolls back what was not committed and lets plans, batches and caches go, until restart().
  void end();

  /// Changes nothing. A device may still refuse the memory that the budget promises.
  PassFit fits() const;
  /// Room for what the run writes; true where it is reserved already. False: nothing is held.
  bool reserve();
  /// The same, with an Error(memory) that names `op`, the row and both numbers.
  void reserve_or_throw(const std::string& op);
  /// Makes the next pass ready to run, as run() does by itself. False: none is left.
  bool bind();
  /// Goes on until all passes are done (true) or clock_seconds() >= deadline (checked between two
  /// ops; at least one runs). Room must be reserved. Throws what an op throws, Error(memory) for an
  /// arena, Error(cancelled) when the context is interrupted.
  bool run(double deadline = 1e300);
  /// In run()'s place, for passes that the caller writes line by line (EagerPass):
  ///   while (run.next_pass()) { ... run.pass_plan(), run.pass_binding() ...; run.pass_done(...); }
  /// `outputs`: those of the program, and the paths that the plan was asked for.
  bool next_pass();
  const Plan& pass_plan() const;
  const std::shared_ptr<PassBinding>& pass_binding() const;
  void pass_done(NamedTensors outputs);
  bool done() const;

  /// An output or asked path of the last pass, where it was computed; valid until this object goes.
  Tensor output(const std::string& name) const;
  std::vector<std::string> output_names() const;
  /// All of them as copies on the host, as answers go out: wanted rows are [batch, ...] for
  /// RowSelection::last, and have the batch's own identity where they are all of its tokens. This
  /// is where a fault in what a device does by itself shows.
  NamedTensors read_back() const;
  /// The same of encode, and after it of cross; empty without them.
  NamedTensors read_back_encoded() const;
  /// The binding of the last pass; made by run().
  const PassBinding& binding() const;
  const Batch& batch() const;
  /// The batches of the last pass and of encode, which know the rows of axes that these made; null
  /// where they made none.
  std::shared_ptr<const Batch> answered() const;
  std::shared_ptr<const Batch> answered_encoded() const;
  /// Per row: what the source becomes in length; empty without cross.
  const std::vector<std::int64_t>& encoded_lengths() const;

  /// What was written becomes part of the caches.
  void commit();
  /// Gives back what was reserved; after commit() it does nothing.
  void rollback();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace perilune
