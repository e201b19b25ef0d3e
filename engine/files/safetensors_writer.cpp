// Writing safetensors files: whole, or not at all.
#include <algorithm>
#include <set>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/files/safetensors.h"

namespace perilune {
namespace {

using NamedTensor = std::pair<std::string, Tensor>;

void check_names(const std::vector<NamedTensor>& tensors) {
  std::set<std::string_view> seen;
  for (const auto& [name, tensor] : tensors) {
    const char* problem = nullptr;
    if (name.empty()) problem = "a tensor has no name";
    if (name == "__metadata__") problem = "no tensor may be called \"__metadata__\"";
    if (problem == nullptr && !tensor.defined()) problem = "there is no tensor";
    if (problem == nullptr && !seen.insert(name).second) problem = "two tensors have one name";
    if (problem != nullptr) {
      throw Error(ErrorCode::argument, "save", problem).operand("name", "\"" + name + "\"");
    }
  }
}

/// Wider types first, so that every tensor begins at a multiple of its element.
std::vector<const NamedTensor*> file_order(const std::vector<NamedTensor>& tensors) {
  std::vector<const NamedTensor*> order;
  order.reserve(tensors.size());
  for (const NamedTensor& tensor : tensors) order.push_back(&tensor);
  std::stable_sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return dtype_size(a->second.dtype()) > dtype_size(b->second.dtype());
  });
  return order;
}

std::string header_text(const std::vector<const NamedTensor*>& order,
                        const std::map<std::string, std::string>& metadata) {
  Json root = Json::object();
  if (!metadata.empty()) {
    Json pairs = Json::object();
    for (const auto& [key, value] : metadata) pairs.set(key, Json(value));
    root.set("__metadata__", std::move(pairs));
  }
  std::int64_t begin = 0;
  for (const NamedTensor* entry : order) {
    const Tensor& tensor = entry->second;
    Json sizes = Json::array();
    for (const Axis& axis : tensor.shape().axes()) sizes.push(Json(axis.size));
    const std::int64_t end = begin + static_cast<std::int64_t>(tensor.bytes());
    Json offsets = Json::array();
    offsets.push(Json(begin)).push(Json(end));
    Json described = Json::object();
    described.set("dtype", Json(safetensors_type(tensor.dtype())));
    described.set("shape", std::move(sizes));
    described.set("data_offsets", std::move(offsets));
    root.set(entry->first, std::move(described));
    begin = end;
  }
  std::string text = write_json(root);
  text.append((8 - text.size() % 8) % 8, ' ');
  if (text.size() > kMaxSafetensorsHeader) {
    throw Error(ErrorCode::argument, "save",
                "names and metadata take " + std::to_string(text.size()) + " bytes, at most " +
                    std::to_string(kMaxSafetensorsHeader) + " are possible");
  }
  return text;
}

}  // namespace

void write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  check_names(tensors);
  const std::vector<const NamedTensor*> order = file_order(tensors);
  const std::string header = header_text(order, metadata);
  PendingFile file(path, "save");
  std::string length(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) {
    length[i] = static_cast<char>(header.size() >> (8 * i) & 0xff);
  }
  file.write(length.data(), length.size());
  file.write(header.data(), header.size());
  for (const NamedTensor* entry : order) {
    const Tensor& tensor = entry->second;
    const Tensor plain = tensor.to_contiguous().to(tensor.context()->cpu_device());
    if (plain.bytes() != 0) file.write(plain.data(), plain.bytes());
  }
  file.keep();
}

}  // namespace perilune
