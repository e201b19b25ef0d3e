// Which files of a model's folder hold its weights.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/device/context.h"
#include "engine/files/tensor_file.h"

namespace perilune {

/// Every stored tensor of the folder, once, sorted by name. Opens model.safetensors or the shards
/// that model.safetensors.index.json lists, or the GGUF file `folder`, all validated. Throws
/// Error(file) when there are no weights (saying what is there instead) or shards are missing
/// (naming them), Error(format) when index and shards disagree. Tensors that the index does not
/// list are warned about and left out.
std::vector<CheckpointEntry> open_checkpoint_files(const Context& context,
                                                   const std::string& folder, bool map);

}  // namespace perilune
