#include "engine/plan/pass_stage.h"

#include "engine/base/error.h"
#include "engine/device/context.h"

namespace perilune {

void Stage::end(ExecutionStore& store) {
  if (execution != nullptr) store.give(std::move(execution));
  if (binding != nullptr && binding.use_count() == 1) {
    binding->release();
  } else {
    binding = nullptr;
  }
  plan = nullptr;
  batch = nullptr;
  written.clear();
  bound = done = false;
}

Tensor Stage::output(const std::string& name) const {
  if (execution != nullptr) return execution->output(name);
  for (const auto& [known, tensor] : written) {
    if (known == name) return tensor;
  }
  throw Error(ErrorCode::argument, plan->program().entry, "there is no output \"" + name + "\"");
}

std::vector<std::string> Stage::names() const {
  if (execution != nullptr) return execution->output_names();
  std::vector<std::string> names;
  for (const auto& [name, tensor] : written) names.push_back(name);
  return names;
}

NamedTensors Stage::on_host() const {
  NamedTensors all;
  for (const std::string& name : names()) {
    const Tensor tensor = output(name);
    const bool lent = execution != nullptr && tensor.device().host_visible();
    const Tensor host = lent ? tensor.copy() : tensor.to(plan->context()->cpu_device());
    all.emplace_back(name, binding->answer(host));
  }
  return all;
}

std::shared_ptr<const Batch> Stage::answered() const {
  if (binding == nullptr || binding->made_rows().empty()) return nullptr;
  return batch->with_made_rows(binding->made_rows());
}

}  // namespace perilune
