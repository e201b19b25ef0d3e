// Which modules of a model run on which device, and the parts that a model is placed by.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/device/device.h"

namespace perilune {

class Program;

/// Ops whose module lies at or below `path` ("layers.3") run on `device`.
struct PlacedPath {
  std::string path;
  std::shared_ptr<Device> device;
};

/// The device of a module path: the longest entry that it lies at or below, null for none.
std::shared_ptr<Device> device_of_path(const std::vector<PlacedPath>& map, std::string_view path);

/// What lies in one place as a rule: a layer ("decoder.layers.3"), what comes before the layers
/// ("embeddings"), what comes after them ("norm", "logits").
struct ProgramPart {
  std::string path;
  std::vector<std::string> modules;  // each once, in the order they are computed
};

/// A program's parts in the order they are computed. Modules of a layer belong to it; others to the
/// tensor that is marked next, before any layer; those after the last mark are parts by themselves.
std::vector<ProgramPart> parts_of(const Program& program);

}  // namespace perilune
