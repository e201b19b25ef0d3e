// A GGUF file's tensors as a TensorFile: quantized ones read as the float32 values they stand for.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "engine/files/gguf/head.h"
#include "engine/files/tensor_file.h"

namespace perilune {

/// Whether the file begins as a GGUF file does. False where it cannot be read.
bool is_gguf_file(const std::string& path);

/// Opens `path`; `map` as for TensorFile. StoredTensor::type is ggml's name of the type; of
/// quantized tensors (and F64, I16, which tensors do not have) the dtype is what read() turns them
/// into, exactly but for F64, and [begin, end) counts those bytes.
std::shared_ptr<const TensorFile> open_gguf_tensors(const std::string& path, bool map);

}  // namespace perilune
