#include "engine/weights/folder_files.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/files/gguf/shards.h"
#include "engine/files/gguf/tensors.h"
#include "engine/weights/open_tensor_file.h"

namespace perilune {
namespace {

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr std::size_t kMostNamed = 5;  // in a list inside an error

std::string list_text(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < kMostNamed; ++i) {
    text += (i ? ", " : "") + names[i];
  }
  if (names.size() > kMostNamed) {
    text += " and " + std::to_string(names.size() - kMostNamed) + " more";
  }
  return text;
}

std::vector<std::string> folder_names(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

[[noreturn]] void throw_no_weights(const std::string& folder) {
  if (!folder_exists(folder)) {
    throw Error(ErrorCode::file, "load", folder + ": there is no such folder");
  }
  std::vector<std::string> pickled, other;
  for (const std::string& name : folder_names(folder)) {
    const auto ends = [&](std::string_view tail) { return name.ends_with(tail); };
    if (ends(".bin") || ends(".pt") || ends(".pth") || ends(".ckpt") || ends(".pkl")) {
      pickled.push_back(name);
    } else if (ends(".safetensors") || ends(".gguf") || ends(".h5") || ends(".msgpack") ||
               ends(".onnx")) {
      other.push_back(name);
    }
  }
  Error error(ErrorCode::file, "load", folder + ": no " + kSingle + " and no " + kIndex + " there");
  if (!pickled.empty()) {
    error.operand("found", list_text(pickled)).hint(kPickleHint);
  } else if (!other.empty()) {
    error.operand("found", list_text(other))
        .hint("weights are read from safetensors files under those names, or from one .gguf file");
  }
  throw error;
}

bool plain_file_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
}

/// name -> shard, as the index says.
std::map<std::string, std::string> read_index(const std::string& path) {
  const Json root = read_json(path);
  const Json& map = root.get("weight_map");
  if (!map.is_object()) {
    throw Error(ErrorCode::format, "load", path + ": weight_map is not an object");
  }
  std::map<std::string, std::string> shards;
  for (const auto& [name, shard] : map.members()) {
    const std::string& file = shard.as_string(map.place_of(name));
    if (!plain_file_name(file)) {
      throw Error(ErrorCode::format, "load",
                  path + ": tensor \"" + name + "\" is in \"" + file +
                      "\", which is not a file name of this folder");
    }
    shards[name] = file;
  }
  return shards;
}

std::vector<CheckpointEntry> open_shards(const Context& context, const std::string& folder,
                                         bool map) {
  const std::string index_path = join_path(folder, kIndex);
  const std::map<std::string, std::string> index = read_index(index_path);
  std::set<std::string> names;
  for (const auto& [tensor, shard] : index) names.insert(shard);
  std::vector<std::string> missing;
  for (const std::string& name : names) {
    if (!file_exists(join_path(folder, name))) missing.push_back(name);
  }
  if (!missing.empty()) {
    throw Error(ErrorCode::file, "load",
                folder + ": " + std::to_string(missing.size()) + " of " +
                    std::to_string(names.size()) + " shards are missing: " + list_text(missing))
        .hint("copy or download them into the folder");
  }
  std::map<std::string, std::shared_ptr<const TensorFile>> files;
  for (const std::string& name : names) {
    files[name] = open_tensor_file(join_path(folder, name), map);
  }
  std::vector<CheckpointEntry> entries;
  std::vector<std::string> absent;
  for (const auto& [name, shard] : index) {
    const StoredTensor* tensor = files[shard]->find(name);
    if (tensor == nullptr) absent.push_back("\"" + name + "\" in " + shard);
    entries.push_back({files[shard], tensor});
  }
  if (!absent.empty()) {
    throw Error(ErrorCode::format, "load",
                index_path + " lists tensors that are not there: " + list_text(absent))
        .hint("index and shards come from different versions: copy or download both again");
  }
  for (const auto& [shard, file] : files) {
    std::vector<std::string> unlisted;
    for (const StoredTensor& tensor : file->tensors()) {
      const auto listed = index.find(tensor.name);
      if (listed == index.end() || listed->second != shard) unlisted.push_back(tensor.name);
    }
    if (!unlisted.empty()) {
      context.warn(shard + " holds tensors that the index does not list, and they are not read: " +
                       list_text(unlisted),
                   folder);
    }
  }
  return entries;
}

}  // namespace

std::vector<CheckpointEntry> open_checkpoint_files(const Context& context,
                                                   const std::string& folder, bool map) {
  if (file_exists(folder)) {
    if (!is_gguf_file(folder)) {
      open_tensor_file(folder);  // says so of a pickle, and of a file that is nothing
      throw Error(ErrorCode::unsupported, "load", folder + " is a safetensors file")
          .hint("give the folder that it lies in, with its config.json");
    }
    return open_gguf_shards(folder, map);
  }
  const std::string single = join_path(folder, kSingle);
  if (!file_exists(single)) {
    if (file_exists(join_path(folder, kIndex))) return open_shards(context, folder, map);
    throw_no_weights(folder);
  }
  std::vector<CheckpointEntry> entries;
  const std::shared_ptr<const TensorFile> file = open_tensor_file(single, map);
  for (const StoredTensor& tensor : file->tensors()) entries.push_back({file, &tensor});
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a.tensor->name < b.tensor->name; });
  return entries;
}

}  // namespace perilune
