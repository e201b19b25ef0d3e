#include "engine/weights/folder_files.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/files/foreign.h"
#include "engine/files/gguf/shards.h"
#include "engine/files/gguf/tensors.h"
#include "engine/files/whisper/whisper_file.h"
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
  for (const char* name : {kSingle, kIndex}) {
    std::error_code error;
    const std::filesystem::path to =
        std::filesystem::read_symlink(std::filesystem::path(folder) / name, error);
    if (error) continue;  // no link
    throw Error(ErrorCode::file, "load",
                join_path(folder, name) + " is a link to " + to.string() + ", which is not there")
        .hint("fetch the model again: what the link names was moved or removed");
  }
  std::vector<std::string> pickled, other;
  for (const std::string& name : folder_names(folder)) {
    const auto ends = [&](std::string_view tail) { return name.ends_with(tail); };
    if (std::any_of(std::begin(kPickleEndings), std::end(kPickleEndings), ends)) {
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

/// A path below the folder without its "." components; empty for one that leads out of it.
std::string path_inside(const std::string& name) {
  if (name.starts_with('/') ||
      name.find_first_of(std::string_view("\\\0", 2)) != std::string::npos) {
    return {};
  }
  std::string inside;
  for (std::size_t at = 0; at <= name.size();) {
    const std::size_t end = std::min(name.find('/', at), name.size());
    const std::string part = name.substr(at, end - at);
    at = end + 1;
    if (part == "..") return {};
    if (!part.empty() && part != ".") inside += (inside.empty() ? "" : "/") + part;
  }
  return inside;
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
    shards[name] = path_inside(file);
    if (shards[name].empty()) {
      throw Error(ErrorCode::format, "load",
                  path + ": tensor \"" + name + "\" is in \"" + file +
                      "\", which is not a file of this folder");
    }
  }
  return shards;
}

/// The tensors of `files`. Published loaders read every tensor of every shard, whatever the index
/// says of it; of two under one name the one in the index's shard counts.
ModelFiles indexed_entries(const Context& context, const std::string& folder,
                           const std::map<std::string, std::string>& index,
                           const std::map<std::string, std::shared_ptr<const TensorFile>>& files) {
  std::map<std::string, CheckpointEntry> found;
  for (const auto& [shard, file] : files) {
    std::vector<std::string> unlisted;
    for (const StoredTensor& tensor : file->tensors()) {
      const auto listed = index.find(tensor.name);
      const bool here = listed != index.end() && listed->second == shard;
      if (!here) unlisted.push_back(tensor.name);
      if (here || !found.contains(tensor.name)) {
        found[tensor.name] = {file, &tensor};
      }
    }
    if (!unlisted.empty()) {
      context.warn(
          shard + " holds tensors that the index does not list there: " + list_text(unlisted),
          folder);
    }
  }
  std::vector<std::string> absent;
  for (const auto& [name, shard] : index) {
    if (!found.contains(name)) absent.push_back("\"" + name + "\" in " + shard);
  }
  if (!absent.empty()) {
    throw Error(
        ErrorCode::format, "load",
        join_path(folder, kIndex) + " lists tensors that are not there: " + list_text(absent))
        .hint("index and shards come from different versions: copy or download both again");
  }
  ModelFiles all;
  for (auto& [name, entry] : found) {
    if (!index.contains(name)) all.unlisted.insert(name);
    all.entries.push_back(std::move(entry));
  }
  return all;
}

ModelFiles open_shards(const Context& context, const std::string& folder, bool map) {
  const std::map<std::string, std::string> index = read_index(join_path(folder, kIndex));
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
  return indexed_entries(context, folder, index, files);
}

/// A file's tensors, sorted by name.
std::vector<CheckpointEntry> entries_of(const std::shared_ptr<const TensorFile>& file) {
  std::vector<CheckpointEntry> entries;
  for (const StoredTensor& tensor : file->tensors()) entries.push_back({file, &tensor});
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a.tensor->name < b.tensor->name; });
  return entries;
}

}  // namespace

ModelFiles open_checkpoint_files(const Context& context, const std::string& folder, bool map) {
  if (file_exists(folder)) {
    if (is_ctranslate2_whisper(folder) || is_ggml_whisper(folder)) {
      return {entries_of(open_tensor_file(folder, map)), {}};
    }
    if (!is_gguf_file(folder)) {
      open_tensor_file(folder);  // says so of a pickle, and of a file that is nothing
      throw Error(ErrorCode::unsupported, "load", folder + " is a safetensors file")
          .hint("give the folder that it lies in, with its config.json");
    }
    return {open_gguf_shards(folder, map), {}};
  }
  const std::string single = join_path(folder, kSingle);
  if (!file_exists(single)) {
    if (file_exists(join_path(folder, kIndex))) return open_shards(context, folder, map);
    throw_no_weights(folder);
  }
  return {entries_of(open_tensor_file(single, map)), {}};
}

}  // namespace perilune
