// Blocks in safetensors files of our own: a tensor of bytes [outputs, row bytes] whose format and
// inputs the file's metadata tells.
#pragma once

#include <memory>
#include <string>

#include "engine/files/tensor_file.h"

namespace perilune {

/// Metadata: { "NAME": ["NF4", inputs], … } as JSON.
inline constexpr const char* kBlocksKey = "perilune.blocks";
/// Metadata: "modules" where the tensors have the names that passes ask for, in their order of rows
/// and columns, so that nothing is renamed, turned or split.
inline constexpr const char* kNamesKey = "perilune.names";
inline constexpr const char* kModuleNames = "modules";

/// `file`, with the tensors that its metadata says so of as blocks; itself where it says nothing.
/// Throws Error(format) naming file and tensor where what it says does not fit, Error(unsupported)
/// for a format that is not known.
std::shared_ptr<const TensorFile> with_own_blocks(std::shared_ptr<const TensorFile> file);

}  // namespace perilune
