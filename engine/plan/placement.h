// Which device each op of a plan runs on, and where values cross.
#pragma once

#include "engine/plan/graph.h"
#include "engine/program/device_map.h"

namespace perilune {

/// Gives every step its device, and the devices a number each in `devices` (the first is
/// `standard`). An op that keeps or reads keys and values is where its slot is; another where the
/// map has its module; one that the map does not have where what it reads was made, else on
/// `standard`.
void place_steps(PlanGraph& graph, const std::vector<PlacedPath>& map,
                 const std::shared_ptr<Device>& standard,
                 std::vector<std::shared_ptr<Device>>& devices);

/// Gives every value its device. Inputs and constants are on the device of their reader (one value
/// for each device); a value that crosses gets a TransferOp before its first reader there. Throws
/// Error(unsupported) for an op that its device lacks.
void place_values(PlanGraph& graph, const std::vector<std::shared_ptr<Device>>& devices);

}  // namespace perilune
