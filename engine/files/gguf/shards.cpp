#include "engine/files/gguf/shards.h"

#include <algorithm>
#include <cstdio>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/files/gguf/tensors.h"

namespace perilune {
namespace {

constexpr std::int64_t kMostShards = 99999;  // five digits in their names

std::string shard_name(const std::string& stem, std::int64_t number, std::int64_t count) {
  char tail[40];
  std::snprintf(tail, sizeof tail, "-%05lld-of-%05lld.gguf", static_cast<long long>(number),
                static_cast<long long>(count));
  return stem + tail;
}

/// The paths of all shards, in order, of the model whose first is `first`.
std::vector<std::string> shard_paths(const std::string& path, const GgufFile& first) {
  const std::int64_t count = first.find_integer("split.count").value_or(1);
  if (count <= 1) return {path};
  const auto bad = [&](const std::string& problem) {
    return Error(ErrorCode::format, "load", path + ": " + problem);
  };
  if (count > kMostShards) throw bad("split.count is " + std::to_string(count));
  const std::int64_t number = first.find_integer("split.no").value_or(0);
  const std::string tail = shard_name("", 1, count);
  if (number != 0 || !path.ends_with(tail)) {
    throw bad("shard " + std::to_string(number + 1) + " of " + std::to_string(count) +
              (number == 0 ? " is called otherwise" : ""))
        .hint("load the first shard, named …" + tail + ", with the others beside it");
  }
  const std::string stem = path.substr(0, path.size() - tail.size());
  std::vector<std::string> paths, missing;
  for (std::int64_t i = 1; i <= count; ++i) {
    paths.push_back(shard_name(stem, i, count));
    if (!file_exists(paths.back())) missing.push_back(std::string(base_name(paths.back())));
  }
  if (!missing.empty()) {
    throw Error(ErrorCode::file, "load",
                path + ": " + std::to_string(missing.size()) + " of " + std::to_string(count) +
                    " shards are missing, the first " + missing.front())
        .hint("copy or download them into the folder");
  }
  return paths;
}

}  // namespace

std::vector<CheckpointEntry> open_gguf_shards(const std::string& path, bool map) {
  const std::shared_ptr<const GgufFile> first = GgufFile::open(path);
  std::vector<CheckpointEntry> entries;
  for (const std::string& shard : shard_paths(path, *first)) {
    const std::shared_ptr<const TensorFile> file = open_gguf_tensors(shard, map);
    for (const StoredTensor& tensor : file->tensors()) entries.push_back({file, &tensor});
  }
  const auto expected = first->find_integer("split.tensors.count");
  const auto count = static_cast<std::int64_t>(entries.size());
  if (expected && *expected != count && first->find_integer("split.count").value_or(1) > 1) {
    throw Error(ErrorCode::format, "load",
                path + ": the shards hold " + std::to_string(count) +
                    " tensors, split.tensors.count is " + std::to_string(*expected));
  }
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a.tensor->name < b.tensor->name; });
  for (std::size_t i = 1; i < entries.size(); ++i) {
    if (entries[i].tensor->name == entries[i - 1].tensor->name) {
      throw Error(ErrorCode::format, "load",
                  path + ": two shards hold tensor \"" + entries[i].tensor->name + "\"");
    }
  }
  return entries;
}

}  // namespace perilune
