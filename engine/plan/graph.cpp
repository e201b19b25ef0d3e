#include "engine/plan/graph.h"

#include <algorithm>

namespace perilune {

std::vector<int> PlanGraph::uses() const {
  std::vector<int> counts(values.size(), 0);
  for (const PlanStep& step : steps) {
    for (const int id : step.inputs) ++counts[static_cast<std::size_t>(id)];
  }
  for (std::size_t i = 0; i < asked.size(); ++i) counts[i] += asked[i] ? 1 : 0;
  return counts;
}

std::vector<int> PlanGraph::producers() const {
  std::vector<int> makers(values.size(), -1);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    for (const int id : steps[i].outputs) {
      makers[static_cast<std::size_t>(id)] = static_cast<int>(i);
    }
  }
  return makers;
}

void PlanGraph::sweep() {
  steps.erase(std::remove_if(steps.begin(), steps.end(),
                             [](const PlanStep& step) { return step.op == nullptr; }),
              steps.end());
}

}  // namespace perilune
