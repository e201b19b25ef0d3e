// What a step has to do: groups of rows, each one pass. Groups that are done lend their memory to
// those of later steps.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/batch/batch_maker.h"
#include "engine/plan/pass_run.h"
#include "engine/serving/request.h"

namespace perilune {

/// One sequence's part of a step: ids [first, first + tokens).
struct ScheduledRow {
  RequestPointer request;
  std::size_t sequence = 0;
  std::int64_t first = 0, tokens = 0;
  std::int64_t at = 0;       // where its tokens begin among those of the pass
  bool chooses = false;      // its last token's logits give the next id
  std::int64_t choices = 0;  // so many last tokens' do: more than one where guesses are checked
  std::size_t first_wanted = 0, wanted = 0;  // its part of ScheduledGroup::wanted

  Sequence& of() const { return request->sequences[sequence]; }
};

enum class PassKind { generate, forward, encode };  // encode: with cross

/// Rows that one pass computes: same plan, same kind.
struct ScheduledGroup {
  explicit ScheduledGroup(ExecutionStore& executions) : run(executions) {}
  /// As made; memory stays.
  void clear();
  /// Token offsets in the row whose logits are needed.
  std::span<const std::int64_t> wanted_of(const ScheduledRow& row) const {
    return {wanted.data() + row.first_wanted, row.wanted};
  }

  /// Its pass gives back hidden states, too: all its rows run through the plan that does.
  void look_into(const ContrastiveOptions& options) {
    wide_plan = options.plan;
    hidden_path = options.hidden;
  }

  std::shared_ptr<const Plan> plan;
  std::shared_ptr<const Plan> wide_plan;  // that runs in place of `plan`; null: it does itself
  std::string hidden_path;
  PassKind kind = PassKind::generate;
  std::vector<ScheduledRow> rows;
  std::vector<std::int64_t> wanted;  // of all rows, end to end
  bool padded = false;
  RequestPointer writer;  // whose passes these are, where it writes them itself; null: compiled
  std::vector<std::unique_ptr<SequenceCache>> fillers;  // padded: one a filler row
  bool reserved = true;                                 // its rows have room
  BatchMaker batches;
  PassRun run;
  bool begun = false;    // `run` has been given these rows; room is reserved
  Tensor logits;         // generate: of the wanted rows; on the host unless the device chose
  Tensor hidden;         // of a wide plan: f32 [token, hidden] of all rows, on the host
  NamedTensors outputs;  // forward: on the host
};
using GroupPointer = std::unique_ptr<ScheduledGroup>;

/// What is left of the step under way, in order.
class StepWork {
 public:
  explicit StepWork(ExecutionStore& executions) : executions_(executions) {
    kept_.reserve(kMostKept);  // what is done needs no memory
  }
  bool empty() const { return groups_.empty(); }
  ScheduledGroup& front() { return *groups_.front(); }
  std::span<const GroupPointer> groups() const { return groups_; }
  /// The group of a plan's passes of one kind, made at the end where there is none yet.
  ScheduledGroup& group(const std::shared_ptr<const Plan>& plan, PassKind kind, bool padded,
                        const RequestPointer& writer = nullptr);
  GroupPointer take_front();
  void put_front(GroupPointer group) { groups_.insert(groups_.begin(), std::move(group)); }
  /// Takes the rows of a request out.
  void drop(const Request& request);
  /// An empty group, in the memory of one that is done where there is one.
  GroupPointer make();
  /// For make() to use again.
  void keep(GroupPointer done);

 private:
  static constexpr std::size_t kMostKept = 4;

  ExecutionStore& executions_;
  std::vector<GroupPointer> groups_, kept_;
};

}  // namespace perilune
