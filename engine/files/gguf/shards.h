// A model in one GGUF file or in several that gguf-split made of one.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/files/gguf/head.h"
#include "engine/files/tensor_file.h"

namespace perilune {

/// The heads of all shards, in order, of the model that `path` is a shard of
/// ("x-00002-of-00003.gguf" with split.count 3; the others lie beside it); one head where it is
/// whole. The first holds the metadata, any of them tensors. Throws Error(file) naming shards that
/// are missing, Error(format) where they disagree.
std::vector<std::shared_ptr<const GgufFile>> open_gguf_heads(const std::string& path);

/// Every stored tensor of those, once, sorted by name. Throws as open_gguf_heads, and where two
/// shards hold one tensor or their number is not what the first says.
std::vector<CheckpointEntry> open_gguf_shards(const std::string& path, bool map);

}  // namespace perilune
