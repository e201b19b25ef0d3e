// Writing safetensors files: whole, or not at all.
#include <algorithm>
#include <set>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/files/safetensors.h"

namespace perilune {
namespace {

void check_names(const std::vector<TensorToWrite>& tensors) {
  std::set<std::string_view> seen;
  for (const TensorToWrite& tensor : tensors) {
    const char* problem = nullptr;
    if (tensor.name.empty()) problem = "a tensor has no name";
    if (tensor.name == "__metadata__") problem = "no tensor may be called \"__metadata__\"";
    if (problem == nullptr && !seen.insert(tensor.name).second) {
      problem = "two tensors have one name";
    }
    if (problem != nullptr) {
      throw Error(ErrorCode::argument, "save", problem).operand("name", "\"" + tensor.name + "\"");
    }
  }
}

/// Wider types first, so that every tensor begins at a multiple of its element.
std::vector<const TensorToWrite*> file_order(const std::vector<TensorToWrite>& tensors) {
  std::vector<const TensorToWrite*> order;
  order.reserve(tensors.size());
  for (const TensorToWrite& tensor : tensors) order.push_back(&tensor);
  std::stable_sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return dtype_size(a->dtype) > dtype_size(b->dtype);
  });
  return order;
}

std::string header_text(const std::vector<const TensorToWrite*>& order,
                        const std::map<std::string, std::string>& metadata) {
  Json root = Json::object();
  if (!metadata.empty()) {
    Json pairs = Json::object();
    for (const auto& [key, value] : metadata) pairs.set(key, Json(value));
    root.set("__metadata__", std::move(pairs));
  }
  std::int64_t begin = 0;
  for (const TensorToWrite* tensor : order) {
    Json sizes = Json::array();
    for (const std::int64_t size : tensor->sizes) sizes.push(Json(size));
    const std::int64_t end = begin + static_cast<std::int64_t>(tensor->bytes);
    Json offsets = Json::array();
    offsets.push(Json(begin)).push(Json(end));
    Json described = Json::object();
    described.set("dtype", Json(safetensors_type(tensor->dtype)));
    described.set("shape", std::move(sizes));
    described.set("data_offsets", std::move(offsets));
    root.set(tensor->name, std::move(described));
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

void write_safetensors(const std::string& path, const std::vector<TensorToWrite>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  check_names(tensors);
  const std::vector<const TensorToWrite*> order = file_order(tensors);
  const std::string header = header_text(order, metadata);
  PendingFile file(path, "save");
  std::string length(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) {
    length[i] = static_cast<char>(header.size() >> (8 * i) & 0xff);
  }
  file.write(length.data(), length.size());
  file.write(header.data(), header.size());
  for (const TensorToWrite* tensor : order) {
    std::uint64_t written = 0;
    tensor->write([&](const void* bytes, std::size_t size) {
      if (size != 0) file.write(bytes, size);
      written += size;
    });
    if (written != tensor->bytes) {
      throw Error(ErrorCode::internal, "save",
                  "tensor \"" + tensor->name + "\" has " + std::to_string(tensor->bytes) +
                      " bytes, " + std::to_string(written) + " came");
    }
  }
  file.keep();
}

void write_safetensors(const std::string& path,
                       const std::vector<std::pair<std::string, Tensor>>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<TensorToWrite> list;
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.defined()) {
      throw Error(ErrorCode::argument, "save", "there is no tensor")
          .operand("name", "\"" + name + "\"");
    }
    TensorToWrite& to_write = list.emplace_back();
    to_write.name = name;
    to_write.dtype = tensor.dtype();
    for (const Axis& axis : tensor.shape().axes()) to_write.sizes.push_back(axis.size);
    to_write.bytes = tensor.bytes();
    to_write.write = [&tensor = tensor](const ByteSink& sink) {
      const Tensor plain = tensor.to_contiguous().to(tensor.context()->cpu_device());
      sink(plain.data(), plain.bytes());
    };
  }
  write_safetensors(path, list, metadata);
}

}  // namespace perilune
