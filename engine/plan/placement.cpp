#include "engine/plan/placement.h"

#include <algorithm>
#include <map>

#include "engine/ops/transfer.h"

namespace perilune {

namespace {

std::size_t index(int id) {
  return static_cast<std::size_t>(id);
}

constexpr std::size_t kNowhere = static_cast<std::size_t>(-1);

/// Chooses devices of steps, in their order.
class StepPlacement {
 public:
  StepPlacement(PlanGraph& graph, const std::vector<PlacedPath>& map,
                std::vector<std::shared_ptr<Device>>& devices)
      : graph_(graph), map_(map), devices_(devices), made_(graph.values.size(), kNowhere) {}

  void run() {
    for (PlanStep& step : graph_.steps) {
      step.place = place_of(step);
      step.device = devices_[step.place];
      for (const int output : step.outputs) made_[index(output)] = step.place;
    }
  }

 private:
  std::size_t number(const std::shared_ptr<Device>& device) {
    const auto found = std::find(devices_.begin(), devices_.end(), device);
    const auto place = static_cast<std::size_t>(found - devices_.begin());
    if (found == devices_.end()) devices_.push_back(device);
    return place;
  }

  std::size_t place_of(const PlanStep& step) {
    // A view shares the memory of what it views.
    if (step.op->is_view() && made_[index(step.inputs[0])] != kNowhere) {
      return made_[index(step.inputs[0])];
    }
    const std::optional<KvUse> use = step.op->kv_use();
    const std::shared_ptr<Device> own = device_of_path(map_, use ? use->path : step.module);
    if (own != nullptr) return number(own);
    if (use) return 0;
    for (const int input : step.inputs) {
      if (made_[index(input)] != kNowhere) return made_[index(input)];
    }
    return 0;
  }

  PlanGraph& graph_;
  const std::vector<PlacedPath>& map_;
  std::vector<std::shared_ptr<Device>>& devices_;
  std::vector<std::size_t> made_;  // per value: where a step makes it
};

/// Lets every step read what is on its own device.
class ValuePlacement {
 public:
  ValuePlacement(PlanGraph& graph, const std::vector<std::shared_ptr<Device>>& devices)
      : graph_(graph), devices_(devices), made_(graph.values.size(), false) {}

  void run() {
    std::vector<PlanStep> before = std::move(graph_.steps);
    graph_.steps.clear();
    for (PlanStep& step : before) {
      std::vector<TensorSpec> specs;
      for (const int id : step.inputs) specs.push_back(graph_.values[index(id)].spec);
      expect_device(*step.op, specs, *step.device, step.where);
      for (int& input : step.inputs) input = here(input, step);
      for (const int output : step.outputs) {
        graph_.values[index(output)].place = step.place;
        made_[index(output)] = true;
      }
      graph_.steps.push_back(std::move(step));
    }
  }

 private:
  /// `id` as `step` reads it.
  int here(int id, const PlanStep& step) {
    const PlanValue value = graph_.values[index(id)];
    if (value.spec.without_storage || value.place == step.place) return id;
    const bool given = !made_[index(id)];
    int& copy = copies_.try_emplace({id, step.place}, -1).first->second;
    if (copy >= 0) return copy;
    copy = static_cast<int>(graph_.values.size());
    graph_.values.push_back(value);
    graph_.values.back().place = step.place;
    graph_.asked.resize(graph_.values.size(), false);
    made_.push_back(!given);
    if (!given) {
      graph_.steps.push_back({std::make_shared<TransferOp>(),
                              {id},
                              {copy},
                              step.where,
                              "",
                              devices_[value.place],
                              value.place});
    }
    return copy;
  }

  PlanGraph& graph_;
  const std::vector<std::shared_ptr<Device>>& devices_;
  std::vector<bool> made_;  // per value: by a step
  std::map<std::pair<int, std::size_t>, int> copies_;
};

}  // namespace

void place_steps(PlanGraph& graph, const std::vector<PlacedPath>& map,
                 const std::shared_ptr<Device>& standard,
                 std::vector<std::shared_ptr<Device>>& devices) {
  devices = {standard};
  StepPlacement(graph, map, devices).run();
}

void place_values(PlanGraph& graph, const std::vector<std::shared_ptr<Device>>& devices) {
  ValuePlacement(graph, devices).run();
}

}  // namespace perilune
