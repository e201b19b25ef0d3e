// Any file of tensors by what it begins with.
#pragma once

#include <memory>
#include <string>

#include "engine/files/tensor_file.h"

namespace perilune {

/// safetensors, GGUF, or Whisper as CTranslate2 and whisper.cpp store it. `map` as for TensorFile.
/// Throws Error(file | format) naming file, tensor and the numbers that disagree,
/// Error(unsupported) for a pickle.
std::shared_ptr<const TensorFile> open_tensor_file(const std::string& path, bool map = false);

}  // namespace perilune
