#include "engine/files/axis_names.h"

#include <set>

#include "engine/base/error.h"
#include "engine/base/json.h"

namespace perilune {

namespace {

std::string key_of(const std::string& tensor) {
  return "axes." + tensor;
}

}  // namespace

void note_axis_names(const std::vector<std::pair<std::string, Tensor>>& tensors,
                     std::map<std::string, std::string>& metadata) {
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.defined() || tensor.shape().axes().empty()) continue;
    Json list = Json::array();
    for (const Axis& axis : tensor.shape().axes()) list.push(Json(axis.name));
    metadata.emplace(key_of(name), write_json(list));
  }
}

std::vector<std::string> noted_axis_names(const std::map<std::string, std::string>& metadata,
                                          const std::string& tensor, std::size_t rank) {
  const auto found = metadata.find(key_of(tensor));
  if (found == metadata.end()) return {};
  try {
    std::vector<std::string> names;
    std::set<std::string> seen;
    const Json list = parse_json(found->second, "metadata");
    for (const Json& name : list.items()) {
      names.push_back(name.as_string());
      if (names.back().empty() || !seen.insert(names.back()).second) return {};
    }
    if (names.size() == rank) return names;
  } catch (const Error&) {  // another program's words: none of ours
  }
  return {};
}

}  // namespace perilune
