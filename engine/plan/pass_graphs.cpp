#include "engine/plan/pass_graphs.h"

#include <algorithm>

namespace perilune {

DeviceGraph* PassGraphs::take(Device& device, std::span<const std::int64_t> sizes) {
  const auto same = [&](const std::vector<std::int64_t>& known) {
    return std::equal(known.begin(), known.end(), sizes.begin(), sizes.end());
  };
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& entry) { return same(entry.sizes); });
  if (found != entries_.end()) {
    entries_.splice(entries_.begin(), entries_, found);
    return entries_.front().graph.get();
  }
  if (!same(last_)) {
    last_.assign(sizes.begin(), sizes.end());
    return nullptr;
  }
  std::unique_ptr<DeviceGraph> graph = device.make_graph();
  if (graph == nullptr) return nullptr;
  if (entries_.size() == kMost) entries_.pop_back();
  entries_.push_front({last_, std::move(graph)});
  return entries_.front().graph.get();
}

}  // namespace perilune
