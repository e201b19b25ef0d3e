// A model in one GGUF file or in several that gguf-split made of one.
#pragma once

#include <string>
#include <vector>

#include "engine/files/tensor_file.h"

namespace perilune {

/// Every stored tensor, once, sorted by name. `path` is the file, or the first of its shards
/// ("x-00001-of-00003.gguf" with split.count 3), whose others lie beside it. Throws Error(file)
/// naming shards that are missing, Error(format) where they disagree.
std::vector<CheckpointEntry> open_gguf_shards(const std::string& path, bool map);

}  // namespace perilune
