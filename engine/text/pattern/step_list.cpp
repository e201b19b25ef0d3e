#include "engine/text/pattern/step_list.h"

#include "engine/base/error.h"

namespace perilune {

const std::vector<Json>& steps_of(const Json& list) {
  const std::vector<Json>& steps = list.items();
  if (steps.size() <= kMostSteps) return steps;
  throw Error(ErrorCode::format, "tokenizer",
              list.place() + ": " + std::to_string(steps.size()) + " steps, at most " +
                  std::to_string(kMostSteps) + " are allowed");
}

}  // namespace perilune
