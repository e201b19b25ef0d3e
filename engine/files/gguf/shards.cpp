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
  char tail[64];
  std::snprintf(tail, sizeof tail, "-%05lld-of-%05lld.gguf", static_cast<long long>(number),
                static_cast<long long>(count));
  return stem + tail;
}

std::int64_t shard_count(const GgufFile& head) {
  return head.find_integer("split.count").value_or(1);
}

Error bad_shard(const GgufFile& head, const std::string& problem) {
  return Error(ErrorCode::format, "load", head.path() + ": " + problem);
}

/// The paths of all shards, in order, of the model that `head` is a shard of.
std::vector<std::string> shard_paths(const GgufFile& head) {
  const std::int64_t count = shard_count(head);
  if (count > kMostShards) throw bad_shard(head, "split.count is " + std::to_string(count));
  const std::int64_t number = head.find_integer("split.no").value_or(0) + 1;
  const std::string tail = shard_name("", number, count);
  if (number < 1 || number > count || !head.path().ends_with(tail)) {
    throw bad_shard(head, "it says that it is shard " + std::to_string(number) + " of " +
                              std::to_string(count) + ", and is called otherwise")
        .hint("load the first shard, named …" + shard_name("", 1, count) +
              ", with the others beside it under their own names");
  }
  const std::string stem = head.path().substr(0, head.path().size() - tail.size());
  std::vector<std::string> paths, missing;
  for (std::int64_t i = 1; i <= count; ++i) {
    paths.push_back(shard_name(stem, i, count));
    if (!file_exists(paths.back())) missing.push_back(std::string(base_name(paths.back())));
  }
  if (!missing.empty()) {
    throw Error(ErrorCode::file, "load",
                head.path() + ": " + std::to_string(missing.size()) + " of " +
                    std::to_string(count) + " shards are missing, the first " + missing.front())
        .hint("copy or download them into the folder");
  }
  return paths;
}

}  // namespace

std::vector<std::shared_ptr<const GgufFile>> open_gguf_heads(const std::string& path) {
  std::vector<std::shared_ptr<const GgufFile>> heads{GgufFile::open(path)};
  const std::int64_t count = shard_count(*heads.front());
  if (count <= 1) return heads;
  const std::vector<std::string> paths = shard_paths(*heads.front());
  heads.clear();
  for (const std::string& shard : paths) {
    heads.push_back(GgufFile::open(shard));
    const GgufFile& head = *heads.back();
    const std::int64_t number = head.find_integer("split.no").value_or(0) + 1;
    if (shard_count(head) != count || number != static_cast<std::int64_t>(heads.size())) {
      throw bad_shard(head, "it says that it is shard " + std::to_string(number) + " of " +
                                std::to_string(shard_count(head)))
          .hint("files of different models lie under one name: copy or download them again");
    }
  }
  return heads;
}

std::vector<CheckpointEntry> open_gguf_shards(const std::string& path, bool map) {
  const auto heads = open_gguf_heads(path);
  std::vector<CheckpointEntry> entries;
  for (const auto& head : heads) {
    const std::shared_ptr<const TensorFile> file = open_gguf_tensors(head->path(), map);
    for (const StoredTensor& tensor : file->tensors()) entries.push_back({file, &tensor});
  }
  const auto expected = heads.front()->find_integer("split.tensors.count");
  const auto count = static_cast<std::int64_t>(entries.size());
  if (expected && *expected != count && heads.size() > 1) {
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
