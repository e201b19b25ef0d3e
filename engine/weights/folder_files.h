// Which files of a model's folder hold its weights.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "engine/device/context.h"
#include "engine/files/tensor_file.h"

namespace perilune {

/// The stored tensors of a model's files.
struct ModelFiles {
  std::vector<CheckpointEntry> entries;
  std::set<std::string> unlisted;  // names that the index of the shards does not know
};

/// Every stored tensor of the folder, once, sorted by name. Opens model.safetensors or the shards
/// that model.safetensors.index.json lists, or the one file `folder` (GGUF; Whisper of
/// CTranslate2 or whisper.cpp), all validated. Throws
/// Error(file) when there are no weights (saying what is there instead) or shards are missing
/// (naming them), Error(format) when the index lists tensors that no shard has. Tensors that it
/// does not list are warned about, and nobody needs to read them.
ModelFiles open_checkpoint_files(const Context& context, const std::string& folder, bool map);

}  // namespace perilune
