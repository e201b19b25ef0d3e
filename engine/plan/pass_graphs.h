// Passes of an execution as graphs of its device: one for each of the sizes that come again.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <vector>

#include "engine/device/device.h"

namespace perilune {

/// A decode step of so many rows is given to the device in one call. Sizes that are met once, as
/// most prompts' are, start piece by piece: a graph would cost more than it saves. A graph may be
/// used for any pass of its sizes, wherever buffers and pages lie by then; what a step's keys
/// change in it (the blocks that attention cuts them into) is brought up to date.
class PassGraphs {
 public:
  /// The graph for a pass of `sizes`, by axis; null where there is none, or none yet.
  DeviceGraph* take(Device& device, std::span<const std::int64_t> sizes);

 private:
  static constexpr std::size_t kMost = 8;

  struct Entry {
    std::vector<std::int64_t> sizes;
    std::unique_ptr<DeviceGraph> graph;
  };
  std::list<Entry> entries_;        // used last: first
  std::vector<std::int64_t> last_;  // sizes of the last pass
};

}  // namespace perilune
