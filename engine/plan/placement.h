// Which device each op of a plan runs on, and where values cross.
#pragma once

#include "engine/plan/graph.h"

namespace perilune {

/// Ops whose module lies at or below `path` ("layers.3") run on `device`.
struct PlacedPath {
  std::string path;
  std::shared_ptr<Device> device;
};

/// The device of a module path: the longest entry that it lies at or below, null for none.
std::shared_ptr<Device> device_of_path(const std::vector<PlacedPath>& map, std::string_view path);

/// Gives every step and value its device, and the devices a number each in `devices` (the first is
/// `standard`). An op that keeps or reads keys and values is where its slot is; another where the
/// map has its module; one that the map does not have where what it reads was made, else on
/// `standard`. Inputs and constants are on the device of their reader (one value for each device);
/// a value that crosses gets a TransferOp before its first reader there.
void place_steps(PlanGraph& graph, const std::vector<PlacedPath>& map,
                 const std::shared_ptr<Device>& standard,
                 std::vector<std::shared_ptr<Device>>& devices);

}  // namespace perilune
