#include "engine/program/device_map.h"

#include <algorithm>

#include "engine/program/program.h"

namespace perilune {

std::shared_ptr<Device> device_of_path(const std::vector<PlacedPath>& map, std::string_view path) {
  const PlacedPath* best = nullptr;
  for (const PlacedPath& entry : map) {
    const bool below = path.starts_with(entry.path) &&
                       (path.size() == entry.path.size() || path[entry.path.size()] == '.');
    if (!path.empty() && below && (!best || entry.path.size() > best->path.size())) best = &entry;
  }
  return best == nullptr ? nullptr : best->device;
}

namespace {

/// "decoder.layers.3" of "decoder.layers.3.self_attn"; "" for what lies in no layer.
std::string layer_of(std::string_view module) {
  constexpr std::string_view kLayers = "layers.";
  for (std::size_t at = 0; (at = module.find(kLayers, at)) != std::string_view::npos; ++at) {
    if (at != 0 && module[at - 1] != '.') continue;
    const std::size_t digits = at + kLayers.size();
    std::size_t end = digits;
    while (end < module.size() && module[end] >= '0' && module[end] <= '9') ++end;
    if (end > digits && (end == module.size() || module[end] == '.')) {
      return std::string(module.substr(0, end));
    }
  }
  return "";
}

/// Marks outside of layers by the node that makes them, in the order of nodes.
std::vector<std::pair<int, std::string>> marks_between(const Program& program) {
  std::vector<std::pair<int, std::string>> marks;
  for (const auto& [path, value] : program.marks) {
    const int node = program.values[static_cast<std::size_t>(value)].producer;
    if (node >= 0 && layer_of(path).empty()) marks.emplace_back(node, path);
  }
  std::sort(marks.begin(), marks.end());
  return marks;
}

}  // namespace

std::vector<ProgramPart> parts_of(const Program& program) {
  const auto marks = marks_between(program);
  const auto count = static_cast<int>(program.nodes.size());
  // Backwards: the mark that comes next, until a layer stands between.
  std::vector<std::string> parts(program.nodes.size());
  auto mark = marks.rbegin();
  std::string next;
  for (int i = count; i-- > 0;) {
    for (; mark != marks.rend() && mark->first >= i; ++mark) next = mark->second;
    const std::string& module = program.nodes[static_cast<std::size_t>(i)].module;
    std::string& part = parts[static_cast<std::size_t>(i)];
    part = layer_of(module);
    if (!part.empty()) {
      next.clear();
    } else if (!module.empty()) {
      part = next.empty() ? module : next;
    }
  }
  std::vector<ProgramPart> found;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].empty()) continue;
    auto known = std::find_if(found.begin(), found.end(),
                              [&](const ProgramPart& part) { return part.path == parts[i]; });
    if (known == found.end()) known = found.insert(found.end(), ProgramPart{parts[i], {}});
    std::vector<std::string>& modules = known->modules;
    const std::string& module = program.nodes[i].module;
    if (std::find(modules.begin(), modules.end(), module) == modules.end()) {
      modules.push_back(module);
    }
  }
  return found;
}

}  // namespace perilune
