// Quantized matrices of a checkpoint's files as tensors like any other.
#pragma once

#include <string>
#include <vector>

#include "engine/files/tensor_file.h"

namespace perilune {

/// `entries` with the parts of each quantized matrix replaced by one tensor MODULE.weight of
/// blocks, as config.json's quantization_config says; unchanged where it says nothing. Headers and
/// scales are checked here, codes are read when they are asked for. A matrix that no registered
/// format holds becomes float32 values, which is warned about. Throws Error(format | unsupported)
/// naming file, tensor, part and numbers.
std::vector<CheckpointEntry> join_quantized(const Context& context, const std::string& folder,
                                            std::vector<CheckpointEntry> entries);

}  // namespace perilune
