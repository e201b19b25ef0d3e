#include "engine/serving/step_work.h"

namespace perilune {

void ScheduledGroup::clear() {
  run.end();  // before the caches of its rows go
  plan = wide_plan = nullptr;
  hidden_path.clear();
  kind = PassKind::generate;
  rows.clear();
  wanted.clear();
  padded = begun = false;
  writer = nullptr;
  fillers.clear();
  reserved = true;
  logits = hidden = Tensor();
  outputs.clear();
}

ScheduledGroup& StepWork::group(const std::shared_ptr<const Plan>& plan, PassKind kind, bool padded,
                                const RequestPointer& writer) {
  for (const GroupPointer& group : groups_) {
    if (group->plan == plan && group->kind == kind && group->writer == writer) return *group;
  }
  groups_.push_back(make());
  ScheduledGroup& group = *groups_.back();
  group.plan = plan;
  group.kind = kind;
  group.padded = padded;
  group.writer = writer;
  return group;
}

GroupPointer StepWork::take_front() {
  GroupPointer group = std::move(groups_.front());
  groups_.erase(groups_.begin());
  return group;
}

void StepWork::drop(const Request& request) {
  for (const GroupPointer& group : groups_) {
    std::erase_if(group->rows,
                  [&](const ScheduledRow& row) { return row.request.get() == &request; });
  }
  std::erase_if(groups_, [](const GroupPointer& group) { return group->rows.empty(); });
}

GroupPointer StepWork::make() {
  if (kept_.empty()) return std::make_unique<ScheduledGroup>(executions_);
  GroupPointer group = std::move(kept_.back());
  kept_.pop_back();
  return group;
}

void StepWork::keep(GroupPointer done) {
  done->clear();
  if (kept_.size() < kMostKept) kept_.push_back(std::move(done));
}

}  // namespace perilune
