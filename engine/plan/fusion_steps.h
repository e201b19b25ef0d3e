// What the fusions of a plan look steps up with.
#pragma once

#include "engine/plan/graph.h"

namespace perilune {

inline std::size_t index(int id) {
  return static_cast<std::size_t>(id);
}

/// The step's op where it is a SomeOp; else null, also where a rewrite has taken the op.
template <typename SomeOp>
const SomeOp* as(const PlanStep& step) {
  return dynamic_cast<const SomeOp*>(step.op.get());
}

/// The step that makes `value` when its op is a SomeOp on the reader's device and nothing else
/// reads the value.
template <typename SomeOp>
PlanStep* only_use_of(PlanGraph& graph, const std::vector<int>& producers,
                      const std::vector<int>& uses, int value, const PlanStep& reader) {
  const int producer = producers[index(value)];
  if (producer < 0 || uses[index(value)] != 1) return nullptr;
  PlanStep& step = graph.steps[index(producer)];
  return as<SomeOp>(step) != nullptr && step.device == reader.device ? &step : nullptr;
}

}  // namespace perilune
