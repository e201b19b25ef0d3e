// Quantized tensors of GGUF files as float32: exactly the values that their type defines.
#pragma once

#include <cstddef>

#include "engine/files/gguf/head.h"

namespace perilune {

/// Whether a tensor type is quantized and known here.
bool is_quantized(const GgufTensorType& type);

/// Decodes `count` blocks into count * type.block floats. Needs is_quantized(type). Thread-safe.
void dequantize(const GgufTensorType& type, const void* blocks, std::size_t count, float* to);

}  // namespace perilune
