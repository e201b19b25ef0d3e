#include "engine/plan/placement.h"

#include <algorithm>
#include <map>

#include "engine/ops/transfer.h"

namespace perilune {

namespace {

/// "layers.3.mlp" of "layers.3.mlp, llama.lua:41"; a place in a script alone is no module.
std::string_view module_of(std::string_view where) {
  const std::string_view first = where.substr(0, where.find(", "));
  return first.find(':') == std::string_view::npos ? first : std::string_view();
}

class Placement {
 public:
  Placement(PlanGraph& graph, const std::vector<PlacedPath>& map,
            std::vector<std::shared_ptr<Device>>& devices)
      : graph_(graph), map_(map), devices_(devices), made_(graph.values.size(), false) {}

  void run() {
    std::vector<PlanStep> before = std::move(graph_.steps);
    graph_.steps.clear();
    for (PlanStep& step : before) {
      step.place = place_of(step);
      step.device = devices_[step.place];
      for (int& input : step.inputs) input = here(input, step.place, step.where);
      for (const int output : step.outputs) {
        value(output).place = step.place;
        made_[static_cast<std::size_t>(output)] = true;
      }
      graph_.steps.push_back(std::move(step));
    }
  }

 private:
  PlanValue& value(int id) { return graph_.values[static_cast<std::size_t>(id)]; }
  bool made(int id) const { return made_[static_cast<std::size_t>(id)]; }

  std::size_t number(const std::shared_ptr<Device>& device) {
    const auto found = std::find(devices_.begin(), devices_.end(), device);
    if (found == devices_.end()) devices_.push_back(device);
    return static_cast<std::size_t>(std::find(devices_.begin(), devices_.end(), device) -
                                    devices_.begin());
  }

  std::size_t place_of(const PlanStep& step) {
    // A view shares the memory of what it views.
    if (step.op->is_view() && made(step.inputs[0])) return value(step.inputs[0]).place;
    const std::optional<KvUse> use = step.op->kv_use();
    const std::shared_ptr<Device> own =
        device_of_path(map_, use ? use->path : module_of(step.where));
    if (own != nullptr) return number(own);
    if (use) return 0;
    for (const int input : step.inputs) {
      if (made(input)) return value(input).place;
    }
    return 0;
  }

  /// `id` as ops at `place` read it.
  int here(int id, std::size_t place, const std::string& where) {
    if (value(id).spec.without_storage) return id;
    const bool given = !made(id);
    if (value(id).place == place) return id;
    int& copy = copies_.try_emplace({id, place}, -1).first->second;
    if (copy >= 0) return copy;
    copy = static_cast<int>(graph_.values.size());
    PlanValue other = value(id);
    other.place = place;
    graph_.values.push_back(std::move(other));
    graph_.asked.resize(graph_.values.size(), false);
    made_.push_back(!given);
    if (!given) {
      const std::size_t from = value(id).place;
      graph_.steps.push_back(
          {std::make_shared<TransferOp>(), {id}, {copy}, where, devices_[from], from});
    }
    return copy;
  }

  PlanGraph& graph_;
  const std::vector<PlacedPath>& map_;
  std::vector<std::shared_ptr<Device>>& devices_;
  std::vector<bool> made_;  // per value: by a step
  std::map<std::pair<int, std::size_t>, int> copies_;
};

}  // namespace

std::shared_ptr<Device> device_of_path(const std::vector<PlacedPath>& map, std::string_view path) {
  const PlacedPath* best = nullptr;
  for (const PlacedPath& entry : map) {
    const bool below = path.starts_with(entry.path) &&
                       (path.size() == entry.path.size() || path[entry.path.size()] == '.');
    if (!path.empty() && below && (!best || entry.path.size() > best->path.size())) best = &entry;
  }
  return best == nullptr ? nullptr : best->device;
}

void place_steps(PlanGraph& graph, const std::vector<PlacedPath>& map,
                 const std::shared_ptr<Device>& standard,
                 std::vector<std::shared_ptr<Device>>& devices) {
  devices = {standard};
  Placement(graph, map, devices).run();
}

}  // namespace perilune
